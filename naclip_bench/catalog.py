"""What there is: methods, datasets, subsets, weights; read from the configs and from open_clip, never kept by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmengine.config import Config
from mmseg.registry import MODELS
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from .bundled import CONFIGS, PRETRAINED, SUBSETS
from .errors import BenchError, did_you_mean
from .tables.tables import TABLES

#: The architectures that the papers evaluate.
ARCHITECTURES = ('ViT-B-16-quickgelu', 'ViT-B-16', 'ViT-B-32-quickgelu', 'ViT-B-32', 'ViT-L-14-quickgelu', 'ViT-L-14')

#: A kind of thing, and its rows: the key first.
Catalog = dict[str, list[tuple[str, ...]]]


def catalog() -> Catalog:
    """Everything that can be named on a command line."""
    return {
        'methods': _methods(),
        'datasets': _datasets(),
        'subsets': _subsets(),
        'weights': _weights(),
        'tables': [(key, table.title) for key, table in TABLES.items()],
    }


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
        raise BenchError(f'nothing matches {" ".join(words)}{did_you_mean(words[0], keys)}')
    return {kind: rows for kind, rows in found.items() if rows}


def _methods() -> list[tuple[str, ...]]:
    rows = []
    for path in sorted((CONFIGS / '_base_' / 'methods').glob('*.py')):
        kind = Config.fromfile(path).model.type
        # A method's file begins with its paper.
        paper = (sys.modules[MODELS.get(kind).__module__].__doc__ or '').split('\n\n')[0]
        rows.append((path.stem, kind, ' '.join(paper.split())))
    return rows


def _datasets() -> list[tuple[str, ...]]:
    rows = []
    for path in sorted((CONFIGS / '_base_' / 'datasets').glob('*.py')):
        config = Config.fromfile(path)
        where = config.test_dataloader.dataset.get('data_root', 'drawn by code')
        rows.append((config.dataset, f'{config.images:,} images', where))
    return rows


def _subsets() -> list[tuple[str, ...]]:
    # Their first line says what they hold.
    return [(path.stem, path.read_text().split('\n')[0].lstrip('# ')) for path in sorted(SUBSETS.glob('*.txt'))]


def _weights() -> list[tuple[str, ...]]:
    bundled = [(path.stem, path.stem) for path in sorted(PRETRAINED.glob('*.safetensors'))]
    # open_clip offers weights trained with QuickGELU for the plain architectures too; the suite refuses those.
    return bundled + [
        (tag, arch)
        for arch in ARCHITECTURES
        for tag in list_pretrained_tags_by_model(arch)
        if bool(get_pretrained_cfg(arch, tag).get('quick_gelu')) == arch.endswith('-quickgelu')
    ]
