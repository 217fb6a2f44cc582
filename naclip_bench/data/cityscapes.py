"""Cityscapes' 19 train ids, from the label ids or the polygons of its fine annotations."""

from __future__ import annotations

import io
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
    images = find_folder(source, 'leftImg8bit/val', f'*/*{IMAGE}', WHAT)
    annotations = find_folder(source, 'gtFine/val', '*/*_gtFine_*', WHAT)
    paths = sorted(path.relative_to(images).as_posix() for path in images.glob(f'*/*{IMAGE}'))
    target = data_root / 'cityscapes'
    place_images([(images / path, target / 'leftImg8bit' / 'val' / path) for path in paths], WHAT)
    jobs = []
    for name in (path.removesuffix(IMAGE) for path in paths):
        drawn, polygons = (annotations / f'{name}{suffix}' for suffix in (LABELS, POLYGONS))
        chosen = polygons if polygons.is_file() and not drawn.is_file() else drawn
        jobs.append((chosen, target / 'gtFine' / 'val' / f'{name}_gtFine_labelTrainIds.png'))
    convert_masks(jobs, train_ids, WHAT)


def train_ids(path: Path) -> np.ndarray:
    return train_ids_of_polygons(path) if path.suffix == '.json' else train_ids_of_labels(path)


def train_ids_of_labels(path: Path) -> np.ndarray:
    table = np.full(LABEL_IDS, IGNORED_8, np.uint8)
    table[list(EVALUATED)] = range(len(EVALUATED))
    return relabel(read_labels(path), table, path, EXPECTED)


def train_ids_of_polygons(path: Path) -> np.ndarray:
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
            return np.asarray(drawing.createLabelImage(annotation, 'trainIds'))
    except (Exception, SystemExit):
        raise BenchError(f'{path} holds no polygons of Cityscapes; unpack its archive again') from None
