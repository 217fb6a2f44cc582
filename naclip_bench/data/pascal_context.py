"""Pascal Context 60, from the merged annotation file of the Detail API or from the dataset's own ``.mat`` files.

The file, ``trainval_merged.json``, is what mmseg's converter and so the published numbers use. It is one JSON object,
of which two lists are read:

- ``images``: ``{"image_id": 2008000002, "file_name": "2008_000002.jpg", "height": 375, "width": 500, ...}``
- ``annos_segmentation``: ``{"image_id": 2008000002, "category_id": 2, "segmentation": ..., ...}``, things and stuff
  alike. The segmentation is as COCO has it: run lengths (``{"size": [H, W], "counts": ...}``, a string or a list) or
  polygons.

Both sources number categories by the alphabetical list of 459 names; see :mod:`.pc459` for the ``.mat`` files.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
import rich.progress
from rich.console import Console

from ..errors import BenchError, disk_fault
from ..optional import needed
from .masks import convert_masks, is_whole, relabel
from .pc459 import CATEGORIES, EXPECTED, find_matrices, read_matrix
from .sources import context_names, place_context

#: The 59 of the 459 categories that occur most, in the order of their labels 1..59: aeroplane, bag, bed ... wood.
# fmt: off
FREQUENT = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368,
    397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
)
# fmt: on

MERGED = 'trainval_merged.json'
WHAT = 'Pascal Context'
SEGMENTS = f'conversion of {MERGED}'


def convert_pascal_context(source: Path, data_root: Path, names: Sequence[str] | None = None) -> None:
    """``VOCdevkit/VOC2010/SegmentationClassContext``: labels 1..59, and 0 for everything else.

    Args:
        source: ``trainval_merged.json``, a folder that holds it somewhere, or one with the ``.mat`` files in
            ``trainval``; the JSON is taken where both are there. VOC2010's ``JPEGImages`` are in it too, or in
            ``data_root`` already.
        data_root: folder of all datasets.
        names: images of the validation set; None: the official list.

    Raises:
        BenchError: an image or its annotation is missing or damaged, or holds a category above 459.
    """
    names = context_names() if names is None else names
    masks = data_root / 'VOCdevkit' / 'VOC2010' / 'SegmentationClassContext'
    place_context(source, data_root, names, WHAT)
    merged = source if source.is_file() else next(iter(sorted(source.rglob(MERGED))), None)
    if merged is None:
        jobs = [(path, masks / f'{path.stem}.png') for path in find_matrices(source, names, WHAT)]
        convert_masks(jobs, labels_of_matrix, WHAT)
        return
    # Those that are there already are not looked for in a file that takes a minute to read.
    names = [name for name in names if not is_whole(masks / f'{name}.png')]
    needed('pycocotools.mask', 'data', SEGMENTS)  # before the minute, and for all processes
    # On the data's disk, since the system's temporary folder may be memory.
    with tempfile.TemporaryDirectory(prefix='.segments-', dir=data_root) as folder:
        spooled = spool(merged, names, Path(folder)) if names else []
        jobs = [(path, masks / f'{path.stem}.png') for path in spooled]
        convert_masks(jobs, partial(labels_of_segments, merged), WHAT)


def labels_of_matrix(path: Path) -> np.ndarray:
    return _reduced(read_matrix(path), path)


def labels_of_segments(merged: Path, path: Path) -> np.ndarray:
    """Labels of one image; where segments overlap the later one counts, as in the Detail API."""
    run_lengths = needed('pycocotools.mask', 'data', SEGMENTS)
    size, *segments = (json.loads(line) for line in path.read_text(encoding='utf-8').splitlines())
    image, categories = f'{merged}, {path.stem}', np.zeros(size, np.uint16)
    for segment in segments:
        category = segment['category_id']
        if not 0 <= category <= CATEGORIES:
            raise BenchError(f'{image} holds category {category}; expected: {EXPECTED}; download it again')
        try:
            inside = _decoded(segment['segmentation'], size, run_lengths)
            categories[inside != 0] = category
        except Exception:  # pycocotools and numpy have several, for damaged run lengths and those of another size
            shape = f'{size[0]}x{size[1]}'
            raise BenchError(f'{image} holds a segment that does not fit {shape}; download it again') from None
    return _reduced(categories, path)


def spool(merged: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """Each image's size and segments in a file of its own, line by line.

    The merged file has hundreds of MB, and several times that in memory; here no more than a segment is held.
    """
    ijson = needed('ijson', 'data', SEGMENTS)
    wanted, lines_of = set(names), {}
    try:
        with _reading(merged) as file:
            for image in ijson.items(file, 'images.item', use_float=True):
                path = folder / f'{Path(image["file_name"]).stem}.jsonl'
                if path.stem in wanted:
                    lines_of[image['image_id']] = path
                    path.write_text(f'{json.dumps([image["height"], image["width"]])}\n', encoding='utf-8')
        with _reading(merged) as file:
            for segment in ijson.items(file, 'annos_segmentation.item', use_float=True):
                if segment['image_id'] in lines_of:
                    kept = {key: segment[key] for key in ('category_id', 'segmentation')}
                    with lines_of[segment['image_id']].open('a', encoding='utf-8') as lines:
                        lines.write(f'{json.dumps(kept)}\n')
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f'{merged} is no whole JSON file ({reason}); download it again') from None
    except OSError as error:
        why = disk_fault(error) or error.strerror or error
        raise BenchError(f'cannot read {merged} into {folder}: {why}') from None
    except (KeyError, TypeError) as error:
        raise BenchError(f"{merged} is not the Detail API's annotation file: it lacks {error}") from None
    paths = [folder / f'{name}.jsonl' for name in names]
    lost = [path.stem for path in paths if not path.is_file()]
    if lost:
        raise BenchError(f'{merged} lacks {len(lost)} of {len(paths)} images, the first {lost[0]}')
    return paths


def _reading(path: Path) -> AbstractContextManager[BinaryIO]:
    """The file, with a bar on a terminal."""
    console = Console(stderr=True)
    return rich.progress.open(path, 'rb', description=path.name, console=console, disable=not console.is_terminal)


def _decoded(segmentation: dict | list, size: list[int], run_lengths: ModuleType) -> np.ndarray:
    """1 inside, 0 outside, (H, W)."""
    if isinstance(segmentation, list):  # polygons
        return run_lengths.decode(run_lengths.merge(run_lengths.frPyObjects(segmentation, *size)))
    if isinstance(segmentation['counts'], list):
        segmentation = run_lengths.frPyObjects(segmentation, *size)
    return run_lengths.decode(segmentation)


def _reduced(categories: np.ndarray, path: Path) -> np.ndarray:
    table = np.zeros(CATEGORIES + 1, np.uint8)
    table[list(FREQUENT)] = range(1, len(FREQUENT) + 1)
    return relabel(categories, table, path, EXPECTED)
