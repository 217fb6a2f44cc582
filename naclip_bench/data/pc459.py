"""Pascal Context with all its 459 categories.

Source: ``trainval.tar.gz`` of https://cs.stanford.edu/~roozbeh/pascal-context, a ``.mat`` for every image of
VOC2010's trainval. Its ``LabelMap``, (H, W) uint16, holds categories 1..459 by the alphabetical list in ``labels.txt``,
and 0 where nothing is labeled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import BenchError
from ..optional import needed
from .masks import IGNORED_16, convert_masks, relabel
from .sources import context_names, find_folder, place_context

CATEGORIES = 459
EXPECTED = '1..459, and 0 for unlabeled'
WHAT = 'PC459'
MATRICES = "conversion of Pascal Context's .mat files"


def convert_pc459(source: Path, data_root: Path, names: Sequence[str] | None = None) -> None:
    """``VOCdevkit/VOC2010/SegmentationClassContext459``: 16-bit labels 0..458, and 65535 for unlabeled, not scored.

    Args:
        source: where the archive was unpacked (folder ``trainval``). VOC2010's ``JPEGImages`` are in it too, or in
            ``data_root`` already.
        data_root: folder of all datasets.
        names: images of the validation set; None: the official list.

    Raises:
        BenchError: an image or its ``.mat`` is missing, damaged, or holds a category above 459.
    """
    names = context_names() if names is None else names
    place_context(source, data_root, names, WHAT)
    masks = data_root / 'VOCdevkit' / 'VOC2010' / 'SegmentationClassContext459'
    matrices = find_matrices(source, names, WHAT)
    convert_masks([(path, masks / f'{path.stem}.png') for path in matrices], labels_of_matrix, WHAT)


def find_matrices(source: Path, names: Sequence[str], what: str) -> list[Path]:
    needed('scipy.io', 'data', MATRICES)  # here, so that the processes that read them have it already
    folder = find_folder(source, 'trainval', '*.mat', what)
    return [folder / f'{name}.mat' for name in names]


def read_matrix(path: Path) -> np.ndarray:
    """Categories (H, W) of a ``.mat`` file.

    Raises:
        BenchError: damaged, or it holds no ``LabelMap``; or scipy is not installed.
    """
    loadmat = needed('scipy.io', 'data', MATRICES).loadmat
    try:
        categories = loadmat(path, variable_names=['LabelMap'])['LabelMap']
    except KeyError:
        raise BenchError(f"{path} holds no LabelMap; is it one of Pascal Context's trainval folder?") from None
    except Exception:  # scipy has many errors for a damaged file
        raise BenchError(f'{path} cannot be read; unpack its archive again') from None
    if categories.ndim != 2 or categories.dtype.kind != 'u':
        raise BenchError(f'{path}: its LabelMap is {categories.dtype} {categories.shape}, not one label a pixel')
    return categories


def labels_of_matrix(path: Path) -> np.ndarray:
    table = np.array([IGNORED_16, *range(CATEGORIES)], np.uint16)
    return relabel(read_matrix(path), table, path, EXPECTED)
