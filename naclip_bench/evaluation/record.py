"""What a number stands on: the identity of a run, and the result file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size

from .. import __version__
from ..datasets.check import list_hash
from ..files import written_beside
from ..methods.base import TrainingFreeSegmentor

#: Version of the result file's schema; raised whenever a key changes its meaning. Described in docs/result.md.
SCHEMA = 1

#: What is said before and behind every run with random weights.
RANDOM_WEIGHTS = 'RANDOM WEIGHTS: these numbers mean nothing; they only show that the run works.'

#: Distributions whose version can move a number, by import name: OpenMMLab's own and their maintained continuation.
PACKAGES = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'numpy': ('numpy',),
    'pillow': ('pillow',),
    'scikit-learn': ('scikit-learn',),
    'opencv': ('opencv-python', 'opencv-python-headless'),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'open_clip': ('open_clip_torch',),
}


def versions() -> dict[str, str]:
    found = {'naclip_bench': __version__, 'python': platform.python_version()}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def device_record(device: torch.device) -> dict[str, object]:
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
        cpuinfo = Path('/proc/cpuinfo')
        if cpuinfo.exists():
            models = [
                line.split(':', 1)[1].strip() for line in cpuinfo.read_text().splitlines() if 'model name' in line
            ]
            name = models[0] if models else name
    return {'type': device.type, 'name': name, 'threads': torch.get_num_threads(), 'processes': get_world_size()}


def short_side(config: Config) -> int | None:
    """Short side to which the config's pipeline resizes, or None where it does not."""
    for step in config.test_dataloader.dataset.pipeline:
        if step['type'] == 'Resize':
            return min(step['scale'])
        if step['type'] == 'CentralSquare':
            return step['size']
    return None


def identity(config: Config, model: TrainingFreeSegmentor, names: list[str]) -> dict[str, object]:
    """Everything that decides the numbers of a run, by what it is called in messages.

    What only decides the speed (batch sizes, workers, processes) and where files lie is left out.
    """
    method = {key: value for key, value in config.model.to_dict().items() if key not in ('backbone', 'window_batch')}
    method.pop('class_names', None)
    if method.get('refine'):
        method['refine'].pop('query_chunk', None)
    dataset = config.test_dataloader.dataset
    return {
        'method': method,
        'dataset': {
            key: value for key, value in dataset.to_dict().items() if key not in ('data_root', 'indices', 'test_mode')
        },
        'list of images': list_hash(names),
        'weights': [model.backbone.arch, model.backbone.weights_hash],
        'precision': model.backbone.precision,
        'class names': model.vocabulary.sha256,
        'prompts': model.vocabulary.prompts_sha256,
        'device': model.backbone.device.type,
        'versions': {key: value for key, value in versions().items() if key != 'python'},
    }


def fingerprint(parts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def result_record(
    config: Config,
    model: TrainingFreeSegmentor,
    names: list[str],
    parts: dict[str, object],
    scores: dict[str, object],
    times: dict[str, object],
    selection: dict[str, object],
    overrides: dict[str, object],
) -> dict[str, object]:
    """The content of ``result.json``; see docs/result.md."""
    backbone, vocabulary = model.backbone, model.vocabulary
    return {
        'schema': SCHEMA,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'method': type(model).__name__,
        'dataset': config.dataset,
        'protocol': config.protocol,
        'note': config.get('note'),
        'overrides': overrides,
        'random_weights': backbone.random_weights,
        'images': {'count': len(names), **selection},
        **scores,
        'settings': {
            'short_side': short_side(config),
            'window': model.window,
            'stride': model.stride if model.window else None,
            'logit_scale': model.logit_scale,
            'prob_thd': model.prob_thd,
            'area_thd': model.area_thd,
            'refine': config.model.get('refine'),
            'precision': backbone.precision,
            'arch': backbone.arch,
            'weights': backbone.weights_name,
            'class_names': vocabulary.name,
            'templates': len(vocabulary.templates),
            'queries': len(vocabulary.occurrences),
        },
        'hashes': {
            'run': fingerprint(parts),
            'weights': backbone.weights_hash,
            'class_names': vocabulary.sha256,
            'prompts': vocabulary.prompts_sha256,
            'data_list': list_hash(names),
        },
        'versions': versions(),
        'device': device_record(backbone.device),
        'times': times,
        'config': config.to_dict(),
    }


def write_json(path: Path, content: dict, indent: int | None = 2) -> None:
    """Write beside and rename, so that nobody ever reads half a file."""
    with written_beside(path) as temporary, temporary.open('w') as file:
        file.write(json.dumps(plain(content), indent=indent, allow_nan=False) + '\n')
        # On the disk before it has its name: what it takes the place of may be deleted next.
        file.flush()
        os.fsync(file.fileno())


def plain(value: object) -> object:
    """A value as it reads back from JSON; NaN becomes null, as JSON has none."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
