"""Files of weights as people have them, to open_clip's state dict; nothing in a file is ever run."""

from __future__ import annotations

import hashlib
import logging
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.pretrained import get_pretrained_url, list_pretrained_models_by_tag
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from ..errors import BenchError
from ..files import written_beside
from .transformers_names import has_transformers_names, to_open_clip

LOG = logging.getLogger(__name__)

#: Under which training scripts put the weights beside the optimizer's state and the like.
WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'module')

#: Entries that describe a model and are no weights: numbers of OpenAI's archives, and buffers that follow from sizes.
NOT_WEIGHTS = ('input_resolution', 'context_length', 'vocab_size', 'attn_mask', 'position_ids')

#: A parameter by which the names of a CLIP are known: what stands before it stands before them all.
ANCHORS = (
    'visual.conv1.weight',
    'visual.trunk.blocks.0.norm1.weight',
    'vision_model.embeddings.patch_embedding.weight',
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        state: parameters by open_clip's names.
        openai: one of OpenAI's own archives, whose activation and colors are known.
    """

    state: dict[str, Tensor]
    openai: bool = False


def read_checkpoint(path: Path, own_names: bool = False) -> Checkpoint:
    """Read weights from safetensors, a pickled state dict or checkpoint, or one of OpenAI's TorchScript archives.

    Wrappers of training scripts, a prefix that all names share, and the names of ``transformers`` are recognized.

    Args:
        path: of the file.
        own_names: names are those of the model, and stay.

    Raises:
        BenchError: no weights, several, or a file that could only be read by running what it holds.
    """
    openai = False
    try:
        if path.suffix == '.safetensors':
            state = load_file(path)
        elif _is_torchscript(path):
            _check_openai(path)
            state, openai = _read_archive(path), True
        else:
            state = torch.load(path, map_location='cpu', weights_only=True)
    except BenchError:
        raise
    except Exception:  # each format has errors of its own
        more = _more_than_weights(path)
        if more:
            raise BenchError(
                f'pretrained: {path} holds more than weights ({more}), which only running it could restore; where you '
                'trust it, save the weights alone: torch.save(model.state_dict(), FILE), '
                'or torch.save(torch.load(OLD, weights_only=False)["state_dict"], FILE)'
            ) from None
        raise _no_weights(path) from None
    state = _unwrapped(state, path)
    state = {key: value for key, value in state.items() if key.rsplit('.', 1)[-1] not in NOT_WEIGHTS}
    state = _without_prefix(state, path)
    return Checkpoint(to_open_clip(state) if has_transformers_names(state) and not own_names else state, openai)


def convert_archive(source: str | Path, target: str | Path) -> None:
    """Save the weights of a TorchScript archive as safetensors. It runs what the archive says: only where you trust it.

        convert_archive('finetuned.pt', 'finetuned.safetensors')

    Raises:
        BenchError: ``source`` is no archive that can be read, or ``target`` does not end in ``.safetensors``.
    """
    source, target = Path(source), Path(target)
    if target.suffix != '.safetensors':
        raise BenchError(f'{target}: the converted weights must have a name that ends in .safetensors')
    if not _is_torchscript(source):
        raise BenchError(f'{source} is no TorchScript archive')
    LOG.warning('warning: loading %s runs what its author wrote into it', source)
    try:
        state = _read_archive(source)
    except Exception:  # torch has several errors for a damaged archive
        raise _no_weights(source) from None
    with written_beside(target) as temporary:
        save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, temporary)


def _no_weights(path: Path) -> BenchError:
    return BenchError(
        f'pretrained: {path} holds no weights that can be read; it must be a state dict (.pt, .safetensors) '
        "or OpenAI's TorchScript archive"
    )


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())


def _check_openai(path: Path) -> None:
    """Raise a BenchError unless the archive is one that OpenAI published: open_clip's table has their sha256."""
    urls = [get_pretrained_url(model, 'openai') for model in list_pretrained_models_by_tag('openai')]
    published = {url.split('/')[-2] for url in urls if 'openaipublic' in url}
    if hashlib.sha256(path.read_bytes()).hexdigest() not in published:
        raise BenchError(
            f"pretrained: {path} is a TorchScript archive and none of OpenAI's; loading it could run anything that its "
            'author wrote into it. Where you trust it, convert it once: '
            f'naclip_bench.backbones.checkpoint.convert_archive("{path}", "{path.with_suffix(".safetensors")}")'
        )


def _read_archive(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # torch advises against new archives; these are there already.
        warnings.simplefilter('ignore', FutureWarning)
        return dict(torch.jit.load(path, map_location='cpu').state_dict())


def _more_than_weights(path: Path) -> str:
    """The kinds of things in a pickle that are no weights, and '' where there are none or it is no pickle."""
    try:
        return ', '.join(sorted(get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # as many kinds of broken files as there are
        return ''


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if len(inner) > 1:
            raise BenchError(f'pretrained: {path} holds weights under {" and ".join(inner)}; save those wanted alone')
        if not inner:
            break
        content = content[inner[0]]
    weights = content if isinstance(content, Mapping) else {}
    weights = {key: value for key, value in weights.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not weights:
        raise _no_weights(path)
    return weights


def _without_prefix(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    prefixes = {key.removesuffix(anchor) for anchor in ANCHORS for key in state if key.endswith(anchor)}
    prefixes = {prefix for prefix in prefixes if not prefix or prefix.endswith('.')}
    if not prefixes or '' in prefixes:
        return state
    if len(prefixes) > 1:
        raise BenchError(
            f'pretrained: {path} holds several models ({", ".join(sorted(prefixes))}); save the one wanted alone'
        )
    prefix = prefixes.pop()
    LOG.warning('note: the names in %s begin with "%s", which is taken off', path, prefix)
    return {key.removeprefix(prefix): value for key, value in state.items()}
