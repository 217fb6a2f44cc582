"""COCO's JSON: images, categories, and one annotation for each class of an image.

``segmentation`` is the run-length encoding of the mask, or, where asked for, its regions as outlines along the edges of
pixels. COCO's outlines have no holes: a hole is joined to its outline by a line there and back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...json_files import write_json
from ...optional import needed
from .polygons import polygons

if TYPE_CHECKING:
    from ..result import Segmentation

#: What the tables of a file are called.
TABLES = ('images', 'annotations', 'categories')

Ring = Sequence[tuple[float, float]]


def write(result: Segmentation, path: Path) -> None:
    """A file of one image."""
    write_json(path, merged([annotated(result)], result.names), indent=None)


def annotated(result: Segmentation, with_polygons: bool = False) -> dict[str, Any]:
    """An image's entry and its annotations, without ids.

    Args:
        with_polygons: write outlines as ``segmentation``, in place of the run-length encoding.
    """
    encode = needed('pycocotools.mask', 'segment', 'COCO JSON')
    height, width = result.labels.shape
    outlines: dict[int, list[list[float]]] = {}
    if with_polygons:
        for label, rings in polygons(result):
            outlines.setdefault(label, []).append([number for point in opened(rings) for number in point])
    annotations = []
    for index, area in enumerate(result.areas.values()):
        if not area:
            continue
        encoded = encode.encode(np.asfortranarray(result.labels == index, np.uint8))
        box = encode.toBbox(encoded).tolist()
        segmentation: Any = {'size': [height, width], 'counts': encoded['counts'].decode('ascii')}
        if with_polygons:
            segmentation = outlines[index]
        about = {'segmentation': segmentation, 'area': area, 'bbox': box, 'iscrowd': 0}
        annotations.append({'category_id': index + 1, **about})
    return {'image': {'file_name': result.name, 'height': height, 'width': width}, 'annotations': annotations}


def joined(files: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
    """One file of several that :func:`write` wrote, of one image each."""
    images = []
    for path in files:
        content = json.loads(path.read_text(encoding='utf-8'))
        (image,) = content['images']
        images.append({'image': image, 'annotations': content['annotations']})
    return merged(images, names)


def merged(images: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """One file of several images of :func:`annotated`; ids count from 1, as COCO's tools want it."""
    out: dict[str, list] = {table: [] for table in TABLES}
    for number, image in enumerate(images, 1):
        out['images'].append({**image['image'], 'id': number})
        for annotation in image['annotations']:
            out['annotations'].append({**annotation, 'id': len(out['annotations']) + 1, 'image_id': number})
    out['categories'] = [{'id': index, 'name': name} for index, name in enumerate(names, 1)]
    return out


def opened(rings: Sequence[Ring]) -> list[tuple[float, float]]:
    """One ring of an outline and its holes: each hole is joined to the outline by a line there and back."""
    outline = [*rings[0][:-1]]
    # Holes from the left, each joined along its row to what lies left of it.
    for hole in sorted(rings[1:], key=lambda ring: min(ring)):
        begin = hole.index(min(hole))
        x, y = hole[begin]
        turned = [*hole[begin:-1], *hole[:begin], hole[begin]]
        place, meeting = _edge_left_of(outline, x, y)
        outline = [*outline[: place + 1], meeting, *turned, meeting, *outline[place + 1 :]]
    return outline


def _edge_left_of(outline: Sequence[tuple[float, float]], x: float, y: float) -> tuple[int, tuple[float, float]]:
    """The nearest upright edge at the left of a point: its begin, and where the point's row meets it."""
    best = None
    for place, (ax, ay) in enumerate(outline):
        bx, by = outline[(place + 1) % len(outline)]
        if ax == bx and ax < x and min(ay, by) <= y <= max(ay, by) and ay != by and (best is None or ax > best[1][0]):
            best = place, (ax, y)
    assert best is not None, 'a hole lies within its outline'
    return best
