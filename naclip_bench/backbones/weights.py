"""Which CLIP, with which weights: a name, a file, or made up; always with a hash of what was really loaded."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import Identity

from ..bundled import PRETRAINED
from ..errors import BenchError, did_you_mean

#: Mean and deviation of the colors that OpenAI's weights, and most others, were trained with.
OPENAI = (tuple(OPENAI_DATASET_MEAN), tuple(OPENAI_DATASET_STD))

#: Entries of OpenAI's archives that describe the model and are no weights.
NOT_WEIGHTS = ('input_resolution', 'context_length', 'vocab_size')

THREE_WAYS = (
    'give them in one of three ways: (1) with network access, let open_clip download them once; '
    '(2) set HF_HOME to a Hugging Face cache that holds them; '
    '(3) pass a local file: --pretrained FILE (.pt, .safetensors, or a TorchScript archive)'
)


@dataclass(frozen=True)
class LoadedCLIP:
    model: CLIP
    arch: str  #: open_clip's name, or ``custom-<hash>`` for a config of one's own
    name: str  #: the tag, the file's name, or ``random``
    sha256: str  #: of all parameters in float32
    quick_gelu: bool
    random_weights: bool
    colors: tuple[tuple[float, ...], tuple[float, ...]] | None  #: mean and deviation in 0..1 where not OpenAI's


def load_clip(arch: str | Mapping, pretrained: str | None) -> LoadedCLIP:
    """Build a CLIP of ``arch`` and fill it with ``pretrained``; see :class:`FrozenCLIP` for both.

    Raises:
        BenchError: unknown architecture or tag, weights that cannot be had, or weights of another architecture.
    """
    arch_name, config = _model_config(arch)
    quick_gelu = bool(config.get('quick_gelu', False))
    plain = (
        f'arch: "{arch_name}" has no plain CLIP vision transformer and text tower; use one such as ViT-B-16-quickgelu'
    )
    try:
        with torch.device('meta'):
            model = CLIP(**config)
    except (TypeError, RuntimeError, OSError):
        raise BenchError(plain) from None
    model.attn_mask = None  # a buffer outside the state dict; FrozenCLIP masks by itself
    if not _is_plain(model, config):
        raise BenchError(plain)

    colors = None
    if pretrained is None:
        name, state = 'random', random_weights(model.state_dict())
    elif (PRETRAINED / f'{pretrained}.safetensors').is_file():
        name, state = pretrained, _read_file(PRETRAINED / f'{pretrained}.safetensors', arch_name, quick_gelu)
    elif Path(pretrained).is_file():
        name, state = Path(pretrained).name, _read_file(Path(pretrained), arch_name, quick_gelu)
    else:
        path, colors = _fetch(arch_name, pretrained, quick_gelu)
        name, state = pretrained, _read_file(path, arch_name, quick_gelu)
    state = {key: value.float().contiguous() for key, value in state.items()}
    _check_same_architecture(model, state, arch_name, name)
    model.load_state_dict(state, assign=True)
    return LoadedCLIP(model, arch_name, name, _hash(state), quick_gelu, pretrained is None, colors)


def random_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a CLIP of any size with no download: each parameter drawn from the crc32 of its name.

    They mean nothing, but they are the same everywhere, differ from token to token, and keep activations in the range
    of a trained CLIP's; the golden vectors of the tests were computed with them.
    """
    return {name: _random_weight(name, tuple(value.shape)) for name, value in state.items()}


def _random_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    *parents, last = name.split('.')
    if last == 'logit_scale':
        return torch.tensor(4.6052)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if parents and parents[-1].startswith('ln_'):
        return 1 + 0.1 * noise if last == 'weight' else 0.05 * noise
    if last in ('bias', 'in_proj_bias'):
        return 0.05 * noise
    if last == 'class_embedding':
        return 0.2 * noise
    if last == 'positional_embedding':
        return (0.2 if parents else 0.05) * noise
    if 'token_embedding' in parents:
        return 0.1 * noise
    if 'conv1' in parents:
        return 0.03 * noise
    if last in ('proj', 'text_projection'):
        return noise * shape[0] ** -0.5
    if last == 'in_proj_weight':
        return 1.6 * noise * shape[1] ** -0.5
    return noise * shape[-1] ** -0.5


def _model_config(arch: str | Mapping) -> tuple[str, dict]:
    if isinstance(arch, str) and arch.endswith('.json'):
        try:
            arch = json.loads(Path(arch).read_text())
        except (OSError, ValueError) as error:
            raise BenchError(f'arch: cannot read the open_clip model config {arch}: {error}') from None
        arch = arch.get('model_cfg', arch)
    if isinstance(arch, str):
        own = PRETRAINED / f'{arch}.json'
        config = json.loads(own.read_text()) if own.is_file() else open_clip.get_model_config(arch)
        if config is None:
            raise BenchError(f'arch: unknown model "{arch}"{did_you_mean(arch, open_clip.list_models())}')
        return arch, config
    config = deepcopy({key: dict(value) if isinstance(value, Mapping) else value for key, value in arch.items()})
    missing = [key for key in ('embed_dim', 'vision_cfg', 'text_cfg') if key not in config]
    if missing:
        raise BenchError(f'arch: the open_clip model config lacks {", ".join(missing)}')
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return f'custom-{digest[:8]}', config


def _is_plain(model: CLIP, config: Mapping) -> bool:
    """Both towers are OpenAI's kind: what the blocks and the text tower of :class:`FrozenCLIP` compute."""
    visual, text = model.visual, config['text_cfg']
    blocks = [*getattr(getattr(visual, 'transformer', None), 'resblocks', [None]), *model.transformer.resblocks]
    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == 'tok'
        and all(type(block) is ResidualAttentionBlock and isinstance(block.ls_1, Identity) for block in blocks)
        and model.text_pool_type == 'argmax'
        and not any(text.get(key) for key in ('hf_tokenizer_name', 'no_causal_mask', 'embed_cls'))
    )


def _fetch(arch: str, tag: str, quick_gelu: bool) -> tuple[Path, tuple[tuple[float, ...], tuple[float, ...]] | None]:
    """The file of a tag, from open_clip's cache or the network, and its colors where they are not OpenAI's."""
    known = list_pretrained_tags_by_model(arch)
    entry = get_pretrained_cfg(arch, tag)
    if not entry:
        if Path(tag).suffix or '/' in tag:
            raise BenchError(f'pretrained: there is no file {tag}; {THREE_WAYS}')
        raise BenchError(f'pretrained: "{tag}" is no tag of {arch}{did_you_mean(tag, known)}')
    if bool(entry.get('quick_gelu', False)) != quick_gelu:
        other = arch.removesuffix('-quickgelu') if quick_gelu else f'{arch}-quickgelu'
        raise BenchError(f'pretrained: "{tag}" was trained with another activation than {arch}; use arch {other}')
    mean, deviation = (tuple(entry.get(key) or default) for key, default in zip(('mean', 'std'), OPENAI, strict=True))
    try:
        return Path(download_pretrained(entry)), None if (mean, deviation) == OPENAI else (mean, deviation)
    except Exception as error:  # whatever went wrong on the way, the weights are not here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BenchError(f'pretrained: the weights "{tag}" of {arch} cannot be had ({reason}); {THREE_WAYS}') from None


def _read_file(path: Path, arch: str, quick_gelu: bool) -> dict[str, Tensor]:
    """A state dict from safetensors, a pickled state dict or checkpoint, or a TorchScript archive; runs no code."""
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            state = load_file(path)
        elif _is_torchscript(path):
            if not quick_gelu:
                raise BenchError(
                    f'pretrained: {path} is an archive of OpenAI, trained with QuickGELU; use arch {arch}-quickgelu'
                )
            with warnings.catch_warnings():
                # torch advises against new archives; these are OpenAI's, from 2021.
                warnings.simplefilter('ignore', FutureWarning)
                state = torch.jit.load(path, map_location='cpu').state_dict()
        else:
            state = torch.load(path, map_location='cpu', weights_only=True)
            state = state.get('state_dict', state)
    except BenchError:
        raise
    except Exception:  # each format has errors of its own; all mean the same
        raise BenchError(
            f'pretrained: {path} holds no weights that can be read; it must be a state dict (.pt, .safetensors) '
            "or OpenAI's TorchScript archive"
        ) from None
    state = {key.removeprefix('module.'): value for key, value in state.items() if isinstance(value, Tensor)}
    return {key: value for key, value in state.items() if key not in NOT_WEIGHTS}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())


def _check_same_architecture(model: CLIP, state: Mapping[str, Tensor], arch: str, name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if expected == found:
        return
    wrong = [f'{key} is {found[key]}, not {shape}' for key, shape in expected.items() if found.get(key, shape) != shape]
    wrong += [f'{key} is missing' for key in expected if key not in found]
    wrong += [f'{key} is unknown' for key in found if key not in expected]
    raise BenchError(
        f'pretrained: {name} holds the weights of another architecture than {arch}{_guess(found)}: '
        f'{wrong[0]}{f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""}; set model.backbone.arch'
    )


def _guess(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What the shapes of a state dict say about its architecture."""
    patches = shapes.get('visual.conv1.weight')
    if patches is None or len(patches) != 4:
        return ''
    layers = {key.split('.')[3] for key in shapes if key.startswith('visual.transformer.resblocks.')}
    return f' (they look like a vision transformer of {len(layers)} blocks x {patches[0]}, patch {patches[2]})'


def _hash(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(f'{key}{tuple(state[key].shape)}'.encode())
        digest.update(state[key].detach().numpy())
    return digest.hexdigest()
