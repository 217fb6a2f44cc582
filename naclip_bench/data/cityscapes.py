"""Cityscapes' 19 train ids, or all of its 27 classes, from the label ids or the polygons of its fine annotations."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from ..errors import BenchError
from ..optional import needed
from .masks import IGNORED_8, convert_masks, read_labels, relabel
from .sources import find_folder, place_images

#: Label ids of train ids 0..18, road ... bicycle, and how many ids there are (cityscapesscripts.helpers.labels).
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LABEL_IDS = 34

#: The first label id that is a class: the unsupervised benchmark (PiCIE, STEGO) scores all from here on.
FIRST_CLASS = 7

EXPECTED = '0..33, as in *_gtFine_labelIds.png of gtFine_trainvaltest.zip'
IMAGE, LABELS, POLYGONS = '_leftImg8bit.png', '_gtFine_labelIds.png', '_gtFine_polygons.json'
WHAT = 'Cityscapes'


def convert_cityscapes(source: Path, data_root: Path) -> None:
    """``cityscapes``: train ids 0..18, all else 255, not scored.

    Label ids are taken where they are there, else the polygons. Both give the same masks: Cityscapes drew its label ids
    from the polygons.

    Args:
        source: where ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip`` were unpacked.
        data_root: folder of all datasets.

    Raises:
        BenchError: a file is missing or damaged, holds a label that Cityscapes does not have, or cityscapesScripts is
            needed and not installed.
    """
    _convert(source, data_root, '_gtFine_labelTrainIds.png', train_ids)


def convert_cityscapes27(source: Path, data_root: Path) -> None:
    """``cityscapes27``: label ids 7..33 as 0..26, all else 255; else as :func:`convert_cityscapes`."""
    _convert(source, data_root, '_gtFine_classes27.png', classes27)


def _convert(source: Path, data_root: Path, suffix: str, convert: Callable[[Path], np.ndarray]) -> None:
    images = find_folder(source, 'leftImg8bit/val', f'*/*{IMAGE}', WHAT)
    annotations = find_folder(source, 'gtFine/val', '*/*_gtFine_*', WHAT)
    paths = sorted(path.relative_to(images).as_posix() for path in images.glob(f'*/*{IMAGE}'))
    target = data_root / 'cityscapes'
    place_images([(images / path, target / 'leftImg8bit' / 'val' / path) for path in paths], WHAT)
    jobs = []
    for name in (path.removesuffix(IMAGE) for path in paths):
        drawn, polygons = (annotations / f'{name}{ending}' for ending in (LABELS, POLYGONS))
        chosen = polygons if polygons.is_file() and not drawn.is_file() else drawn
        jobs.append((chosen, target / 'gtFine' / 'val' / f'{name}{suffix}'))
    convert_masks(jobs, convert, WHAT)


def train_ids(path: Path) -> np.ndarray:
    return _classes(path, EVALUATED)


def classes27(path: Path) -> np.ndarray:
    return _classes(path, range(FIRST_CLASS, LABEL_IDS))


def _classes(path: Path, evaluated: Sequence[int]) -> np.ndarray:
    """Place of each pixel's label id among those ``evaluated``; 255 for all others."""
    table = np.full(LABEL_IDS, IGNORED_8, np.uint8)
    table[list(evaluated)] = range(len(evaluated))
    return relabel(label_ids(path), table, path, EXPECTED)


def label_ids(path: Path) -> np.ndarray:
    """Label ids as they are stored, or as Cityscapes draws them of polygons."""
    if path.suffix != '.json':
        return read_labels(path)
    what_for = f'drawing {path.name} (there is no *{LABELS} beside it)'
    helpers, drawing = (
        needed(f'cityscapesscripts.{module}', 'data', what_for)
        for module in ('helpers.annotation', 'preparation.json2labelImg')
    )
    annotation = helpers.Annotation()
    try:
        # It explains itself on stdout and ends the process where it does not know a label.
        with redirect_stdout(io.StringIO()):
            annotation.fromJsonText(path.read_text(encoding='utf-8'))
            return np.asarray(drawing.createLabelImage(annotation, 'ids'))
    except (Exception, SystemExit):
        raise BenchError(f'{path} holds no polygons of Cityscapes; unpack its archive again') from None
