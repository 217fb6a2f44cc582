"""A result as files, one module a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import BenchError
from . import coco, geojson, geotiff, npz, overlay, png, shares

if TYPE_CHECKING:
    from ..result import Segmentation

#: By suffix: what writes a result.
WRITERS: dict[str, Callable[[Segmentation, Path], None]] = {
    '.png': png.write,
    '.jpg': overlay.write,
    '.tif': geotiff.write,
    '.json': coco.write,
    '.geojson': geojson.write,
    '.npz': npz.write,
    '.csv': shares.write,
}


def write(result: Segmentation, path: Path) -> None:
    """Write a result in the format that the suffix of ``path`` names.

    Raises:
        BenchError: another suffix, a library that is missing, or a place that cannot be written.
    """
    suffix = {'.jpeg': '.jpg', '.tiff': '.tif'}.get(path.suffix.lower(), path.suffix.lower())
    if suffix not in WRITERS:
        raise BenchError(f'cannot save {path}: the name must end in {", ".join(WRITERS)}')
    WRITERS[suffix](result, path)
