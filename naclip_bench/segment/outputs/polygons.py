"""Regions as polygons along the edges of their pixels, holes and all; GDAL's, through rasterio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...optional import needed

if TYPE_CHECKING:
    from ..result import Segmentation


def polygons(result: Segmentation) -> Iterator[tuple[int, list[list[tuple[float, float]]]]]:
    """Each connected region: its class, and its rings in pixels (x, y), the outer one first.

    Pixels that touch at a corner alone are not connected.
    """
    shapes = needed('rasterio.features', 'geo', 'polygons').shapes
    found: Iterator[tuple[dict[str, Any], float]] = shapes(
        result.labels, mask=result.labels != result.nothing, connectivity=4
    )
    for shape, label in found:
        yield int(label), shape['coordinates']
