"""Everything that decides a confusion matrix, by name, and the one key of it.

Two runs with the same key give the same matrices for the same images; :mod:`naclip_bench.datasets.digest` tells those.
What only decides the speed (batch sizes, workers, processes), where files lie, and what is made of the matrices
(metrics, names, protocol) is left out.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from torch.nn import Module

from .. import __version__
from ..backbones.text import tokenizer_name
from ..bundled import PACKAGE
from ..helpers import HELPERS
from ..inference.pamr import PAMR
from ..inference.refinements import refinement_type
from ..json_files import plain
from ..methods.base import TrainingFreeSegmentor
from ..plugins import plugin_module
from ..settings import resolved_settings

#: Folders of the package that show, prepare or measure, and decide no matrix.
BESIDE_THE_WAY = ('cli', 'data', 'demo', 'figures', 'segment', 'speed', 'tables', 'configs', 'subsets')

#: Modules whose version can move a number.
MODULES = ('torch', 'torchvision', 'numpy', 'PIL', 'cv2', 'mmengine', 'mmcv', 'mmseg', 'open_clip')

#: Settings of a dataset that say where its files are, and which; its files' content counts by itself.
WHERE = ('data_root', 'ann_file', 'data_prefix', 'img_suffix', 'seg_map_suffix', 'indices', 'test_mode', 'metainfo')

#: Settings that decide how fast a method is, and no number.
SPEED = ('window_batch',)


def key_parts(config: Config, method: TrainingFreeSegmentor, dataset: BaseDataset) -> dict[str, object]:
    """Everything that decides the matrices of a leaf, by what it is called in messages.

    Args:
        config: of the leaf.
        method: built from it.
        dataset: likewise.
    """
    settings = _resolved('model', type(method), config.model)
    settings['type'] = type(method).__name__
    for name in (*SPEED, *HELPERS, 'backbone', 'class_names', 'templates', 'data_preprocessor'):
        settings.pop(name, None)
    settings |= method.digests
    if settings.get('refine') is not None:
        kind = refinement_type(settings['refine'])
        settings['refine'] = _without(_resolved('model.refine', kind, settings['refine']), 'query_chunk')
        if kind is not PAMR:
            settings['refine']['type'] = kind.__name__
    backbone, helpers = method.backbone, method.helpers
    modules = [*MODULES, *(name for of in (method, backbone.tower, *helpers.values()) for name in of.modules)]
    return plain(
        {
            'method': settings,
            'dataset': {
                **_dataset_settings(config.test_dataloader.dataset),
                'classes': len(dataset.metainfo['classes']),
                'label_map': dataset.label_map,
                'ignore_index': dataset.ignore_index,
                'reduce_zero_label': dataset.reduce_zero_label,
            },
            'weights': {'arch': backbone.arch, 'sha256': backbone.weights_hash},
            **({'helpers': {name: helper.key for name, helper in helpers.items()}} if helpers else {}),
            'colors': _colors(method.data_preprocessor, config.model.get('data_preprocessor')),
            'class names': method.vocabulary.sha256,
            'prompts': method.vocabulary.prompts_sha256,
            'tokenizer': tokenizer_name(backbone),
            'precision': backbone.rounding,
            'device': backbone.device.type,
            'counting': METRICS.build(config.test_evaluator).counting,
            'code': code_of(config, dataset)
            | foreign_digests([type(part) for part in (method, method.data_preprocessor, *helpers.values())]),
            'versions': _without(versions(modules), 'python'),
        },
        finite_only=False,
    )


def _without(group: dict, *names: str) -> dict:
    return {name: value for name, value in group.items() if name not in names}


def _colors(preprocessor: Module, given: object) -> dict[str, object]:
    """All that a preprocessor was given; where it is one of one's own, that may be more than colors."""
    settings = _resolved('model.data_preprocessor', type(preprocessor), given) if isinstance(given, Mapping) else {}
    buffers = {name: buffer.flatten().tolist() for name, buffer in preprocessor.named_buffers()}
    return {'by': type(preprocessor).__name__, **settings, **buffers}


def code_of(config: Config, dataset: BaseDataset) -> dict[str, str]:
    """Hash the source of all that a leaf is made of, as it was when it was first asked for."""
    kinds = [MODELS.get(config.model.type), type(dataset), METRICS.get(config.test_evaluator.type)]
    kinds += [type(step) for step in dataset.pipeline.transforms]
    preprocessor = config.model.get('data_preprocessor')
    kinds += [MODELS.get(preprocessor['type'])] if isinstance(preprocessor, Mapping) else []
    return {'naclip_bench': source_digest(), **foreign_digests(kinds)}


def _dataset_settings(config: dict) -> dict[str, object]:
    settings = _without(_resolved('test_dataloader.dataset', DATASETS.get(config['type']), config), *WHERE)
    steps = [
        {'type': step['type'], **_resolved('pipeline', TRANSFORMS.get(step['type']), step)}
        for step in settings.pop('pipeline')
    ]
    return {'type': config['type'], **settings, 'pipeline': steps}


def _resolved(where: str, kind: type, given: dict) -> dict[str, object]:
    return resolved_settings(where, kind, _without(given, 'type'))


def key_of(parts: dict[str, object]) -> str:
    """Hash parts to a key of 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Hash the package's own source on the way from an image to its matrix."""
    paths = [path for path in PACKAGE.rglob('*.py') if path.relative_to(PACKAGE).parts[0] not in BESIDE_THE_WAY]
    return _digest_of(paths, PACKAGE)


def foreign_digests(kinds: Iterable[type]) -> dict[str, str]:
    """Hash the files of classes that are written outside of the package and its libraries, by module and name.

    A class in a package of its own stands for all of that package's files, one in a lone file also for the files beside
    it that are imported there.
    """
    found = {}
    for kind in dict.fromkeys(base for of in kinds for base in of.__mro__):
        top = kind.__module__.partition('.')[0]
        if top in (*MODULES, 'naclip_bench', 'builtins', 'abc', 'typing', 'collections'):
            continue
        try:
            path = Path(inspect.getfile(kind))
        except (OSError, TypeError):
            continue
        # A file that was named by its path is told by its name: where it lies decides nothing.
        where = path.name if kind.__module__ == plugin_module(path) else kind.__module__
        found[f'{where}:{kind.__qualname__}'] = _source_around(path)
    return found


@cache
def _source_around(path: Path) -> str:
    root = path.parent
    while (root.parent / '__init__.py').is_file():
        root = root.parent
    return _digest_of(root.rglob('*.py') if (root / '__init__.py').is_file() else _with_imported(path), root)


def _with_imported(path: Path) -> set[Path]:
    found, todo = set(), {path}
    while todo:
        one = todo.pop()
        found.add(one)
        for node in ast.walk(ast.parse(one.read_bytes() if one.suffix == '.py' else b'')):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {path.parent / name.partition('.')[0] for name in names}:
                todo |= {top.with_name(f'{top.name}.py')} if top.with_name(f'{top.name}.py').is_file() else set()
                todo |= {*top.rglob('*.py')} if (top / '__init__.py').is_file() else set()
        todo -= found
    return found


def _digest_of(paths: Iterable[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f'{path.relative_to(root).as_posix()}\0'.encode() + path.read_bytes() + b'\0')
    return digest.hexdigest()


def versions(modules: Iterable[str] = MODULES) -> dict[str, str]:
    """Versions of the suite, Python, and the modules that are imported."""
    found = {name: str(getattr(import_module(name), '__version__', 'unknown')) for name in modules}
    return {'naclip_bench': __version__, 'python': platform.python_version(), **found}
