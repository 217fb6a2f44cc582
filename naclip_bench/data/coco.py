"""COCO-Stuff 164k and COCO-Object on val2017, both from COCO-Stuff's maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from .masks import IGNORED_8, UNEXPECTED, convert_masks, read_labels, relabel
from .sources import find_folder, place_images

#: COCO's category ids 1..91 are things and 92..182 stuff. COCO names these, but labeled no image with them: street
#: sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender and hair brush
#: (https://github.com/nightrome/cocostuff/blob/master/labels.md).
UNUSED_CATEGORIES = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
CATEGORIES, THINGS = 182, 80

#: What unlabeled pixels become in COCO-Object, and how its masks are named.
OBJECT_SUFFIXES = {'background': '_instanceTrainIds.png', 'ignored': '_instanceTrainIds_unlabeledIgnored.png'}

EXPECTED = '0..181 without the ids that COCO never used, and 255 for unlabeled, as in stuffthingmaps_trainval2017.zip'


def convert_coco_stuff(source: Path, data_root: Path) -> None:
    """``coco_stuff164k``: 171 train ids, the used categories in order; 255, unlabeled, is not scored.

    Args:
        source: where ``val2017.zip`` (images) and ``stuffthingmaps_trainval2017.zip`` (PNGs of category id - 1, and
            255 for unlabeled pixels) were unpacked. Both have a folder ``val2017`` and may share it.
        data_root: folder of all datasets.

    Raises:
        BenchError: a file is missing or damaged, or holds a label that COCO-Stuff does not have.
    """
    _convert(source, data_root / 'coco_stuff164k', '_labelTrainIds.png', stuff_labels, 'COCO-Stuff')


def convert_coco_object(source: Path, data_root: Path, unlabeled: str = 'background') -> None:
    """``coco_object``: train id + 1 for the 80 things, 0 for all else.

    Args:
        source, data_root: as for :func:`convert_coco_stuff`.
        unlabeled: ``background``, as every published number has it (GroupViT's conversion), or ``ignored``, where
            unlabeled pixels stay 255. The two have masks of their own, see ``OBJECT_SUFFIXES``.

    Raises:
        BenchError: as :func:`convert_coco_stuff`.
    """
    suffix = OBJECT_SUFFIXES[unlabeled]
    _convert(source, data_root / 'coco_object', suffix, partial(object_labels, unlabeled), 'COCO-Object')


def stuff_labels(path: Path) -> np.ndarray:
    return relabel(read_labels(path), stuff_table(), path, EXPECTED).astype(np.uint8)


def object_labels(unlabeled: str, path: Path) -> np.ndarray:
    train_ids = stuff_labels(path)
    labels = np.where(train_ids < THINGS, train_ids + 1, 0).astype(np.uint8)
    if unlabeled == 'ignored':
        labels[train_ids == IGNORED_8] = IGNORED_8
    return labels


def stuff_table() -> np.ndarray:
    """Train id of each label of the maps."""
    used = [category - 1 for category in range(1, CATEGORIES + 1) if category not in UNUSED_CATEGORIES]
    table = np.full(256, UNEXPECTED, np.int16)
    table[used] = np.arange(len(used))
    table[IGNORED_8] = IGNORED_8
    return table


def _convert(source: Path, target: Path, suffix: str, convert: Callable[[Path], np.ndarray], what: str) -> None:
    given = find_folder(source, 'val2017', '*.jpg', what)
    # Not *.png: a folder converted before holds train ids beside the maps.
    maps = find_folder(source, 'val2017', '*[0-9].png', what)
    names = sorted(path.stem for path in given.glob('*.jpg'))
    images = target / 'images' / 'val2017'
    place_images([(given / f'{name}.jpg', images / f'{name}.jpg') for name in names], what)
    masks = target / 'annotations' / 'val2017'
    convert_masks([(maps / f'{name}.png', masks / f'{name}{suffix}') for name in names], convert, what)
