"""What there is: methods, datasets, subsets, weights; read from the configs and from open_clip, never kept by hand.

Nothing here imports torch, which takes seconds: a method's paper is read from its file, and open_clip's weights from
the one module of it that lists them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from .bundled import PACKAGE, PRETRAINED, SUBSETS
from .configuration import dataset_bases, method_bases, read_base
from .errors import BenchError, did_you_mean
from .plugins import errors_of_plugins, plugins
from .tables.tables import TABLES

#: The architectures that the papers evaluate.
ARCHITECTURES = ('ViT-B-16-quickgelu', 'ViT-B-16', 'ViT-B-32-quickgelu', 'ViT-B-32', 'ViT-L-14-quickgelu', 'ViT-L-14')

#: A kind of thing, and its rows: the key first.
Catalog = dict[str, list[tuple[str, ...]]]


def list_methods() -> list[str]:
    """Name every method, those of plugins too: ``['clearclip', 'clip', ...]``."""
    return list(method_bases())


def list_datasets() -> list[str]:
    """Name every dataset, those of plugins too: ``['ade20k', 'ade847', ...]``."""
    return list(dataset_bases())


def catalog() -> Catalog:
    """Everything that can be named on a command line."""
    kinds = {
        'methods': _methods(),
        'datasets': _datasets(),
        'subsets': _subsets(),
        'weights': _weights(),
        'tables': [(key, table.title) for key, table in TABLES.items()],
        'plugins': [(plugin.name, plugin.error or _brought(plugin)) for plugin in plugins()],
    }
    return {kind: rows for kind, rows in kinds.items() if rows}


def filtered(everything: Catalog, words: Sequence[str]) -> Catalog:
    """The rows that hold every word, whatever its case.

    Raises:
        BenchError: there is none.
    """
    found = {
        kind: [row for row in rows if all(word.lower() in ' '.join((kind, *row)).lower() for word in words)]
        for kind, rows in everything.items()
    }
    if not any(found.values()):
        keys = [row[0] for rows in everything.values() for row in rows]
        raise BenchError(f'nothing matches {" ".join(words)}{did_you_mean(words[0], keys)}{errors_of_plugins()}')
    return {kind: rows for kind, rows in found.items() if rows}


def _brought(plugin: object) -> str:
    return ', '.join([*plugin.methods, *plugin.datasets]) or 'neither methods nor datasets'


def _methods() -> list[tuple[str, ...]]:
    files = {
        name: path
        for path in [*(PACKAGE / 'methods').rglob('*.py'), *(file for plugin in plugins() for file in plugin.sources)]
        for name in re.findall(r'^class (\w+)', path.read_text('utf-8', 'replace'), re.MULTILINE)
    }
    rows = []
    for name, base in method_bases().items():
        kind = base['type'] if isinstance(base, dict) else read_base(base).model.type
        rows.append((name, kind, _paper(files.get(kind))))
    return rows


def _paper(file: Path | None) -> str:
    """The first paragraph of a method's file, which is its paper."""
    try:
        text = ast.get_docstring(ast.parse(file.read_bytes())) if file else None
    except SyntaxError as error:
        return f'{file} cannot be read: {error}'
    return ' '.join((text or '').split('\n\n')[0].split())


def _datasets() -> list[tuple[str, ...]]:
    rows = []
    for name, base in dataset_bases().items():
        config = read_base(base)
        count = f'{config.images:,} images' if 'images' in config else ''
        rows.append((name, count, config.test_dataloader.dataset.get('data_root', 'drawn by code')))
    return rows


def _subsets() -> list[tuple[str, ...]]:
    # Their first line says what they hold.
    return [(path.stem, path.read_text().split('\n')[0].lstrip('# ')) for path in sorted(SUBSETS.glob('*.txt'))]


def _weights() -> list[tuple[str, ...]]:
    bundled = [(path.stem, path.stem) for path in sorted(PRETRAINED.glob('*.safetensors'))]
    known = _known_weights()
    # open_clip offers weights trained with QuickGELU for the plain architectures too; the suite refuses those.
    return bundled + [
        (tag, arch)
        for arch in ARCHITECTURES
        for tag in known.list_pretrained_tags_by_model(arch)
        if bool(known.get_pretrained_cfg(arch, tag).get('quick_gelu')) == arch.endswith('-quickgelu')
    ]


def _known_weights() -> ModuleType:
    """``open_clip.pretrained``, without the rest of open_clip where that is not imported yet."""
    if 'open_clip' in sys.modules:
        return import_module('open_clip.pretrained')
    # A copy under another name: a package without content around it, and no torch behind safetensors.
    package = ModuleType('_weights_of_open_clip')
    package.__path__ = find_spec('open_clip').submodule_search_locations
    sys.modules[package.__name__] = package
    without_torch = 'safetensors.torch' not in sys.modules
    if without_torch:
        sys.modules['safetensors.torch'] = None
    try:
        return import_module(f'{package.__name__}.pretrained')
    finally:
        if without_torch:
            del sys.modules['safetensors.torch']
