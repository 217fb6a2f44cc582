"""What a number stands on: the result record, a view of what the store holds of a leaf."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmseg.registry import METRICS

from ..datasets.check import list_hash
from ..datasets.splits import Deviation
from ..json_files import plain
from ..methods.base import TrainingFreeSegmentor
from .confusion import from_cells
from .leaf import Leaf, Selection
from .store import Entry

#: Version of the result file's schema; raised whenever a key changes its meaning. Described in docs/result.md.
SCHEMA = 2

#: What is said before and behind every run with random weights.
RANDOM_WEIGHTS = 'RANDOM WEIGHTS: these numbers mean nothing; they only show that the run works.'


def device_record(device: torch.device) -> dict[str, object]:
    """Tell what computes: type, name, threads and processes."""
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
        cpuinfo = Path('/proc/cpuinfo')
        if cpuinfo.exists():
            lines = cpuinfo.read_text(encoding='utf-8', errors='replace').splitlines()
            name = next((line.split(':', 1)[1].strip() for line in lines if 'model name' in line), name)
    return {'type': device.type, 'name': name, 'threads': torch.get_num_threads(), 'processes': get_world_size()}


def short_side(config: Config) -> int | None:
    """Tell the short side to which the config's pipeline resizes, or None where it does not."""
    for step in config.test_dataloader.dataset.pipeline:
        if step['type'] == 'Resize':
            return min(step['scale'])
        if step['type'] == 'CentralSquare':
            return step['size']
    return None


def result_record(
    leaf: Leaf,
    method: TrainingFreeSegmentor,
    dataset: BaseDataset,
    deviation: Deviation | None,
    selection: Selection,
    names: Sequence[str],
    entry: Entry,
) -> dict[str, object]:
    """Describe a leaf's result; the content of ``result.json``, see docs/result.md.

    Scores, protocol and labels are read off the leaf as it is now; the matrices, and who computed them, off the entry.

    Args:
        method, dataset: of the leaf.
        deviation: of all of the dataset's images from the official list, where there is one.
        names: of the images that are scored; the entry has them all.
    """
    config, backbone, vocabulary = leaf.config, method.backbone, method.vocabulary
    classes = tuple(dataset.metainfo['classes'])
    metric = METRICS.build(config.test_evaluator)
    images = [entry.cells[name] for name in names]
    confusion = from_cells(images, len(classes))
    scores, truth, beside = metric.scores(confusion), confusion.sum(1), metric.beside(images, len(classes))
    last = entry.about['sessions'][-1]
    record = {
        'schema': SCHEMA,
        'date': last['date'],
        'method': type(method).__name__,
        'dataset': config.dataset,
        'protocol': config.protocol,
        'note': config.get('note'),
        'overrides': {name: str(value) for name, value in leaf.overrides.items()},
        'random_weights': method.random_weights,
        'images': {
            'count': len(names),
            'official': config.get('images', len(dataset)),
            'official_list': None if deviation is None else deviation.record(),
            'limit': selection.limit,
            'subset': str(selection.subset) if selection.subset else None,
        },
        'metrics': metric.percent(images, len(classes)),
        'pixels': int(np.sum(truth)),
        'per_class': [
            {
                'class': name,
                'IoU': 100 * float(scores.iou[index]),
                'Acc': 100 * float(scores.accuracy[index]),
                **{other: 100 * float(values[index]) for other, values in beside.items()},
                'pixels': int(truth[index]),
            }
            for index, name in enumerate(classes)
        ],
        'settings': {
            'short_side': short_side(config),
            'window': method.window,
            'stride': method.stride if method.window else None,
            'logit_scale': method.logit_scale,
            'prob_thd': method.prob_thd,
            'area_thd': method.area_thd,
            'refine': config.model.get('refine'),
            'precision': backbone.rounding,
            'arch': backbone.arch,
            'weights': backbone.weights_name,
            'class_names': vocabulary.name,
            'templates': len(vocabulary.templates),
            'templates_chosen': vocabulary.chosen,
            'queries': len(vocabulary.occurrences),
        },
        'hashes': {
            'run': entry.about['key'],
            'weights': backbone.weights_hash,
            'class_names': vocabulary.sha256,
            'prompts': vocabulary.prompts_sha256,
            'data_list': list_hash(names),
        },
        'stands_on': entry.about['parts'],
        'versions': last['versions'],
        'device': last['device'],
        'times': {name: last[name] for name in ('wall', 'images', 'leaves', 'stages')},
        'config': config.to_dict(),
    }
    return plain(record)
