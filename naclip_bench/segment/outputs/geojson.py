"""Regions as GeoJSON: longitude and latitude where the image has a georeference, else pixels (x, y), y downward."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from ...json_files import write_json
from ...optional import needed
from .polygons import polygons

if TYPE_CHECKING:
    from ..result import Segmentation


def write(result: Segmentation, path: Path) -> None:
    """A FeatureCollection, one Polygon a connected region with ``class``, ``label`` and ``pixels``."""
    features = []
    where = result.georeference
    for label, rings in polygons(result):
        pixels = round(sum((1 if index == 0 else -1) * _area(ring) for index, ring in enumerate(rings)))
        geometry = {'type': 'Polygon', 'coordinates': [[list(point) for point in ring] for ring in rings]}
        if where is not None:
            placed = [[list(where.transform @ tuple(point)) for point in ring] for ring in rings]
            geometry['coordinates'] = placed
            if where.crs is not None:
                to_degrees = needed('rasterio.warp', 'geo', 'GeoJSON').transform_geom
                geometry = to_degrees(where.crs, 'EPSG:4326', geometry)
        about = {'class': result.names[label], 'label': label, 'pixels': pixels}
        features.append({'type': 'Feature', 'properties': about, 'geometry': geometry})
    write_json(path, {'type': 'FeatureCollection', 'features': features}, indent=None)


def _area(ring: list[tuple[float, float]]) -> float:
    return abs(sum(x * later_y - later_x * y for (x, y), (later_x, later_y) in itertools.pairwise(ring))) / 2
