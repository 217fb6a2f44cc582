"""COCO of 27 classes, the benchmark of unsupervised segmentation: COCO-Stuff's classes merged, on part of val2017.

The classes are the twelve kinds of things and fifteen kinds of stuff of COCO's hierarchy, the images those that IIC
(Ji, Henriques, Vedaldi; ICCV 2019) chose, as PiCIE, STEGO, HP and SmooSeg score them: 2,175 of at least 360 pixels a
side, of which stuff covers three quarters. The list was not at hand; it follows from the masks by this rule.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ..bundled import CLASS_NAMES
from ..parallel import over_cores
from .coco import stuff_labels
from .masks import IGNORED_8, UNEXPECTED, convert_masks, read_labels, relabel
from .sources import find_folder, place_images

WHAT = 'COCO of 27 classes'

#: Masks of COCO-Stuff, as its archive has them and as they were converted.
ARCHIVE, CONVERTED = '.png', '_labelTrainIds.png'

#: The first kind of stuff; shortest side of an image in pixels; least share of its pixels that is stuff.
FIRST_STUFF, SHORTEST, SHARE = 12, 360, 0.75


def convert_coco27(source: Path, data_root: Path) -> None:
    """``coco27``: kinds of things 0..11 and of stuff 12..26; 255, unlabeled, is not scored.

    Args:
        source: where ``val2017.zip`` and ``stuffthingmaps_trainval2017.zip`` were unpacked, or a ``coco_stuff164k``.
        data_root: folder of all datasets.

    Raises:
        BenchError: a file is missing or damaged, or holds a label that COCO-Stuff does not have.
    """
    given = find_folder(source, 'val2017', '*.jpg', WHAT)
    # Of either kind: names that end in a digit, or in that of train ids.
    maps = find_folder(source, 'val2017', '*[0-9s].png', WHAT)
    paths = [_map_of(path.stem, maps) for path in sorted(given.glob('*.jpg'))]
    chosen = [path for path, fits in zip(paths, over_cores(is_chosen, paths, f'{WHAT}: choice'), strict=True) if fits]
    target = data_root / 'coco27'
    names = [path.name[: -len(_suffix(path))] for path in chosen]
    place_images([(given / f'{name}.jpg', target / 'images' / 'val2017' / f'{name}.jpg') for name in names], WHAT)
    masks = [target / 'annotations' / 'val2017' / f'{name}.png' for name in names]
    convert_masks(list(zip(chosen, masks, strict=True)), merged_labels, WHAT)


def is_chosen(path: Path) -> bool:
    """IIC's rule; an unlabeled pixel is no stuff."""
    labels = merged_labels(path)
    stuff = (labels >= FIRST_STUFF) & (labels != IGNORED_8)
    return min(labels.shape) >= SHORTEST and int(stuff.sum()) >= SHARE * labels.size


def merged_labels(path: Path) -> np.ndarray:
    """Kinds (H, W) uint8 of a mask of COCO-Stuff."""
    labels = read_labels(path) if _suffix(path) == CONVERTED else stuff_labels(path)
    return relabel(labels, merging_table(), path, '0..170, and 255 for unlabeled').astype(np.uint8)


@cache
def merging_table() -> np.ndarray:
    """Kind of each of COCO-Stuff's 171 train ids: that whose class names hold its own."""
    kinds = (CLASS_NAMES / 'coco27.txt').read_text(encoding='utf-8').splitlines()
    kind_of = {word: kind for kind, words in enumerate(kinds) for word in words.split(', ')}
    table = np.full(256, UNEXPECTED, np.int16)
    words = (CLASS_NAMES / 'cliptrase_coco_stuff.txt').read_text(encoding='utf-8').splitlines()
    table[: len(words)] = [kind_of[word] for word in words]
    table[IGNORED_8] = IGNORED_8
    return table


def _map_of(name: str, folder: Path) -> Path:
    """The archive's mask of an image, or where there is none, the converted one."""
    archive, converted = (folder / f'{name}{suffix}' for suffix in (ARCHIVE, CONVERTED))
    return converted if converted.is_file() and not archive.is_file() else archive


def _suffix(path: Path) -> str:
    return CONVERTED if path.name.endswith(CONVERTED) else ARCHIVE
