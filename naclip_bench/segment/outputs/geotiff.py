"""Labels as a GeoTIFF that lies where its image does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..geo import write_geotiff

if TYPE_CHECKING:
    from ..result import Segmentation


def write(result: Segmentation, path: Path) -> None:
    write_geotiff(path, result.labels, result.nothing, result.colors, result.georeference)
