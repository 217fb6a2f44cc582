"""Where a CLIP's architecture and weights come from: a name, a file, a folder, or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import (
    download_pretrained,
    download_pretrained_from_hf,
    get_pretrained_cfg,
    list_pretrained_tags_by_model,
)

from ..bundled import PRETRAINED
from ..errors import BenchError, did_you_mean
from .colors import Colors, described_colors
from .families import TIPS
from .fetching import THREE_WAYS, fetch

LOG = logging.getLogger(__name__)

#: What open_clip calls the description of a model in a folder or on the hub.
CONFIG = 'open_clip_config.json'

#: The like of transformers, which is read for TIPSv2 alone.
TRANSFORMERS_CONFIG, TRANSFORMERS_WEIGHTS = 'config.json', 'model.safetensors'

HUB, FOLDER = 'hf-hub:', 'local-dir:'

#: The tag of a configuration that says nothing else.
DEFAULT_TAG = 'openai'


@dataclass(frozen=True)
class Architecture:
    """A CLIP's shape.

    Attributes:
        name: open_clip's, or ``custom-<hash>`` of a config of one's own.
        config: an open_clip model config.
        colors: those that its file tells.
        place: the folder or the ``hf-hub:`` name that it came from, which holds weights too.
    """

    name: str
    config: dict
    colors: Colors | None = None
    place: str | None = None

    @property
    def quick_gelu(self) -> bool:
        return bool(self.config.get('quick_gelu', False))

    @property
    def other_activation(self) -> str:
        """What to set where weights were trained with the other activation."""
        other = self.name.removesuffix('-quickgelu') if self.quick_gelu else f'{self.name}-quickgelu'
        if other in open_clip.list_models():
            return f'use arch {other}'
        return f'set quick_gelu to {str(not self.quick_gelu).lower()} in the model config of arch'


@dataclass(frozen=True)
class Source:
    """A file of weights, and the name and colors that are known of it."""

    path: Path
    name: str
    colors: Colors | None = None


def find_architecture(arch: str | Mapping) -> Architecture:
    """Find the model config that ``arch`` stands for; see :class:`FrozenCLIP`.

    Raises:
        BenchError: there is none, or it cannot be read.
    """
    if isinstance(arch, Mapping):
        return _described(arch)
    arch = str(arch)
    bundled = _bundled(arch, '.json')
    if bundled:
        return Architecture(arch, _read_json(bundled))
    if arch in open_clip.list_models():
        return Architecture(arch, open_clip.get_model_config(arch))
    if arch.endswith('.json'):
        return _described(_read_json(Path(arch)))
    if arch.startswith((HUB, FOLDER)) or Path(arch).is_dir():
        return _described(_read_json(_config_of(arch, 'arch')), arch)
    ours = arch.replace('/', '-').replace('@', '-').removesuffix('px') + '-quickgelu'
    if ours in open_clip.list_models():
        raise BenchError(f'arch: open_clip has no model "{arch}"; the model that fits OpenAI\'s weights is {ours}')
    raise BenchError(f'arch: unknown model "{arch}"{did_you_mean(arch, open_clip.list_models())}')


def find_weights(pretrained: str, architecture: Architecture) -> Source:
    """Find the file that ``pretrained`` stands for, from the network where it must be; see :class:`FrozenCLIP`.

    Raises:
        BenchError: there is none, it cannot be had, or what describes it says that it fits another architecture.
    """
    bundled = _bundled(pretrained, '.safetensors')
    if bundled:
        return Source(bundled, pretrained)
    entry = get_pretrained_cfg(architecture.name, pretrained)
    if entry:
        if bool(entry.get('quick_gelu', False)) != architecture.quick_gelu:
            raise _another_activation(f'"{pretrained}"', architecture)
        what = f'the weights "{pretrained}" of {architecture.name}'
        path = fetch(lambda: download_pretrained(entry), what, bool(entry.get('hf_hub')))
        return Source(path, pretrained, described_colors(entry))
    if architecture.place and pretrained == DEFAULT_TAG:
        pretrained = architecture.place
        LOG.warning('note: the weights are those of %s, which comes with its own', pretrained)
    path = Path(pretrained.removeprefix(FOLDER)).expanduser()
    if pretrained.startswith(HUB):
        config = _config_of(pretrained, 'pretrained')
        file = TRANSFORMERS_WEIGHTS if config.name == TRANSFORMERS_CONFIG else None
        name = pretrained.removeprefix(HUB)
        path = fetch(lambda: download_pretrained_from_hf(name, filename=file), f'the weights {pretrained}')
    elif path.is_dir():
        config, path = _config_of(pretrained, 'pretrained'), _weights_in(path)
    elif path.is_file():
        config, pretrained = path.with_name(CONFIG), path.name
    elif path.suffix or '/' in pretrained or pretrained.startswith(FOLDER):
        raise BenchError(f'pretrained: there is no file {pretrained}; {THREE_WAYS}')
    else:
        tags = list_pretrained_tags_by_model(architecture.name)
        raise BenchError(f'pretrained: "{pretrained}" is no tag of {architecture.name}{did_you_mean(pretrained, tags)}')
    if not config.is_file():
        if _quick_gelu_beside(path) not in (None, architecture.quick_gelu):
            raise _another_activation(str(path), architecture)
        return Source(path, pretrained)
    described = _described(_read_json(config))
    if described.quick_gelu != architecture.quick_gelu:
        raise _another_activation(str(path), architecture)
    if _heads(described.config) != _heads(architecture.config):
        raise BenchError(
            f'pretrained: {path} holds weights for other attention heads than {architecture.name}, as {config} tells; '
            f'set model.backbone.arch to {config}'
        )
    return Source(path, pretrained, described.colors)


def _bundled(name: str, suffix: str) -> Path | None:
    """The file of that name that comes along."""
    path = PRETRAINED / f'{name}{suffix}'
    return path if Path(name).name == name and path.is_file() else None


def _described(described: Mapping, place: str | None = None) -> Architecture:
    """From an open_clip model config, one with its ``preprocess_cfg`` as open_clip saves it, or TIPSv2's own."""
    if described.get('model_type') == TIPS:
        # Its images are not normalized.
        described = {'model_cfg': _tips(described, place), 'preprocess_cfg': dict(mean=[0] * 3, std=[1] * 3)}
    preprocess, config = described.get('preprocess_cfg'), described.get('model_cfg', described)
    missing = [key for key in ('embed_dim', 'vision_cfg', 'text_cfg') if key not in config]
    if missing:
        raise BenchError(f'arch: the open_clip model config lacks {", ".join(missing)}')
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    colors = described_colors(preprocess) if isinstance(preprocess, Mapping) else None
    return Architecture(f'custom-{digest[:8]}', config, colors, place)


def _tips(described: Mapping, place: str | None) -> dict:
    """The model config of a TIPSv2 of transformers, with the tokenizer of the place it came from."""
    tokenizer = (place or 'google/tipsv2-b14').removeprefix(HUB).removeprefix(FOLDER)
    context = described['text_config'].get('max_position_embeddings', 64)
    text = {'hf_tokenizer_name': tokenizer, 'context_length': context, **described.get('text_cfg', {})}
    size = described['vision_config'].get('hidden_size', 768)
    return {'embed_dim': size, 'vision_cfg': {}, 'text_cfg': text, TIPS: dict(described)}


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        if not isinstance(content, dict):
            raise ValueError('it holds no object')
    except (OSError, ValueError) as error:
        raise BenchError(f'arch: cannot read the open_clip model config {path}: {error}') from None
    return content


def _config_of(place: str, setting: str) -> Path:
    """The description of the model in a folder or on the hub."""
    if place.startswith(HUB):
        name = place.removeprefix(HUB)
        file = TRANSFORMERS_CONFIG if TIPS in name.lower() else CONFIG
        return fetch(lambda: download_pretrained_from_hf(name, filename=file), f'{file} of {place}')
    path = Path(place.removeprefix(FOLDER)).expanduser() / CONFIG
    beside = path.with_name(TRANSFORMERS_CONFIG)
    if not path.is_file() and beside.is_file() and _read_json(beside).get('model_type') == TIPS:
        return beside
    if not path.is_file():
        raise BenchError(f'{setting}: there is no {path}; give the file of the weights, and the model as arch')
    return path


def _weights_in(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix in ('.safetensors', '.bin', '.pt', '.pth'))
    preferred = [path for name in (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME) for path in files if path.name == name]
    if not preferred and len(files) != 1:
        found = ', '.join(path.name for path in files) or 'none'
        raise BenchError(
            f'pretrained: {folder} must hold {HF_SAFE_WEIGHTS_NAME}, {HF_WEIGHTS_NAME} or one file of weights, '
            f'but has {found}; give the path of one'
        )
    return (preferred or files)[0]


def _heads(config: Mapping) -> tuple[int, int]:
    """What no shape of a parameter tells, with open_clip's defaults."""
    return config['vision_cfg'].get('head_width', 64), config['text_cfg'].get('heads', 8)


def _quick_gelu_beside(path: Path) -> bool | None:
    """What the ``config.json`` that ``transformers`` saves beside a CLIP tells of its activation."""
    beside = path.with_name('config.json')
    config = _read_json(beside) if beside.is_file() else {}
    if config.get('model_type') != 'clip':
        return None
    return (config.get('vision_config') or {}).get('hidden_act', 'quick_gelu') == 'quick_gelu'


def _another_activation(weights: str, architecture: Architecture) -> BenchError:
    return BenchError(
        f'pretrained: {weights} was trained with another activation than {architecture.name}; '
        f'{architecture.other_activation}'
    )
