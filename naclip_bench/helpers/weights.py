"""Weights of a helper: found, read, made to fit, or random; always with a hash of what was really loaded."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn

from ..backbones.checkpoint import read_checkpoint
from ..backbones.fetching import fetch
from ..backbones.weights import check_finite, weights_hash
from ..errors import BenchError, did_you_mean
from ..optional import needed

#: Of a file's weights, those that no helper uses: heads of classifiers, and what stands for hidden patches.
UNUSED = ('head.', 'head_dist.', 'fc_norm.', 'mask_token', 'decoder')


@dataclass(frozen=True)
class Loaded:
    name: str  #: the tag, the file's name, or ``random``
    sha256: str
    random: bool


def random_weights(model: nn.Module, prefix: str, authors: Callable[[str], str] = str) -> dict[str, Tensor]:
    """Weights for a helper of any size with no download: each parameter drawn from the crc32 of prefix and name.

    They mean nothing, but they are the same everywhere and keep activations in the range of a trained model's.

    Args:
        authors: gives the name that a parameter has in the authors' code.
    """
    return {name: _random_weight(authors(name), tuple(value.shape), prefix) for name, value in model.named_parameters()}


def _random_weight(name: str, shape: tuple[int, ...], prefix: str) -> Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32((prefix + name).encode())))
    *_, parent, last = ('', *name.split('.'))
    if parent.startswith('norm') or parent in ('layer_norm1', 'layer_norm2'):
        return 1 + 0.1 * noise if last == 'weight' else 0.05 * noise
    if last == 'bias':
        return 0.05 * noise
    if name in ('cls_token', 'pos_embed', 'reg_token'):
        return 0.2 * noise
    if 'patch_embed' in name:
        return noise * (shape[1] * shape[2] * shape[3]) ** -0.5
    if parent == 'qkv':
        return 1.6 * noise * shape[1] ** -0.5
    return noise * shape[-1] ** -0.5


def weights_file(pretrained: str, where: str, download: Callable[[], str] | None, known: str) -> Path:
    """Find the file that ``pretrained`` stands for, from the network where it must be.

    Args:
        pretrained: a tag, or the path of a file.
        where: whose weights they are, for messages.
        download: gives the file of a known tag; None where ``pretrained`` is none.
        known: what tags there are, as a message ends.

    Raises:
        BenchError: there is none, or it cannot be had.
    """
    if download is not None:
        return fetch(download, f'the weights "{pretrained}" of {where}')
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path
    if path.suffix or '/' in pretrained:
        raise BenchError(f'pretrained: there is no file {pretrained} with weights of {where}')
    raise BenchError(f'pretrained: "{pretrained}" is no tag of {where}{known}')


def load_weights(
    model: nn.Module,
    path: Path | None,
    where: str,
    prefix: str,
    renamed: Callable[[dict], Mapping] = dict,
    authors: Callable[[str], str] = str,
) -> Loaded:
    """Fill a model with the weights of a file, or with random ones where there is none.

    Args:
        where: what the model is called in messages.
        prefix, authors: of random weights; see :func:`random_weights`.
        renamed: makes the model's names of the file's.

    Raises:
        BenchError: the file cannot be read, or holds weights of another shape or not finite.
    """
    if path is None:
        name, state = 'random', random_weights(model, prefix, authors)
    else:
        name, state = path.name, renamed(read_checkpoint(path).state)
        state = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
        expected = {key: tuple(value.shape) for key, value in model.named_parameters()}
        _check_fitting(expected, {key: tuple(value.shape) for key, value in state.items()}, name, where)
        state = {key: state[key] for key in expected}
    state = {key: value.float().contiguous() for key, value in state.items()}
    check_finite(state, name)
    model.load_state_dict(state, strict=False, assign=True)
    return Loaded(name, weights_hash(state), path is None)


def _check_fitting(expected: Mapping[str, tuple], found: Mapping[str, tuple], name: str, where: str) -> None:
    faults = [
        f'{key} is {found[key]}, not {shape}' for key, shape in expected.items() if found.get(key, shape) != shape
    ]
    faults += [f'{key} is missing' for key in expected if key not in found]
    faults += [f'{key} is unknown' for key in found if key not in expected]
    if faults:
        more = f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''
        raise BenchError(
            f'pretrained: {name} holds the weights of another model than {where}: {faults[0]}{more}; set its arch'
        )


def timm_weights(arch: str | dict, pretrained: str | Path | None) -> Path | None:
    """The file of a model's weights; None for random ones.

    Raises:
        BenchError: there is no such model, or the weights cannot be had.
    """
    timm = needed('timm', 'helpers', 'the helper')
    if isinstance(arch, str) and not timm.is_model(arch):
        raise BenchError(
            f'the helper\'s arch: timm has no model "{arch}"{did_you_mean(arch, timm.list_models("vit*"))}'
        )
    if pretrained is None:
        return None
    name, pretrained = (arch, str(pretrained)) if isinstance(arch, str) else ('the helper', str(pretrained))
    known = timm.list_pretrained(f'{name}.*') if isinstance(arch, str) else []
    tags = sorted(tag.partition('.')[2] for tag in known)
    download = None
    if pretrained in tags:
        repository = timm.models.get_pretrained_cfg(f'{name}.{pretrained}').hf_hub_id

        def download() -> str:
            return hf_hub_download(repository, 'model.safetensors')

    return weights_file(pretrained, name, download, did_you_mean(pretrained, tags))
