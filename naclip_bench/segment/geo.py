"""GeoTIFFs: what lies where on Earth, read row by row and written with the same georeference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BenchError
from ..files import FileError, written_beside
from ..optional import needed

#: Rows that are read or written at once.
ROWS = 512


@dataclass(frozen=True)
class Georeference:
    """Where an image lies.

    Attributes:
        crs: rasterio's coordinate reference system; None where a file has none.
        transform: from (column, row) to coordinates of it.
    """

    crs: Any
    transform: Any


class Raster:
    """A TIFF as an array (H, W, 3) uint8 RGB whose rows are read when they are asked for.

    Attributes:
        shape: (H, W, 3).
        georeference: None where it has none.
    """

    def __init__(self, path: Path, opened: Any) -> None:
        kinds = [interpretation.name for interpretation in opened.colorinterp]
        colors = [kinds.index(kind) + 1 for kind in ('red', 'green', 'blue') if kind in kinds]
        self.bands = colors if len(colors) == 3 else [1, 2, 3] if opened.count >= 3 else [1, 1, 1]
        self.path, self.shape = path, (opened.height, opened.width, 3)
        placed = opened.crs is not None or not opened.transform.is_identity
        self.georeference = Georeference(opened.crs, opened.transform) if placed else None
        self._opened = opened

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.shape[0])
        return self._read(window=((first, last), (0, self.shape[1])))

    def reduced(self, size: tuple[int, int]) -> np.ndarray:
        """The whole at another size (H, W)."""
        return self._read(out_shape=(3, *size))

    def covered(self, first: int, last: int) -> np.ndarray | None:
        """Where rows hold data, (rows, W) bool; None where all do."""
        return self._opened.dataset_mask(window=((first, last), (0, self.shape[1]))) > 0

    def _read(self, **where: Any) -> np.ndarray:
        try:
            return np.moveaxis(self._opened.read(self.bands, **where), 0, 2)
        except Exception as error:  # rasterio and GDAL have errors of their own
            raise FileError(f'the image {self.path} cannot be read: {error}', 'unreadable') from None


def open_raster(path: Path) -> Raster | None:
    """Open a TIFF; None where it has no georeference and is not large, or where rasterio is not there for a plain one.

    Raises:
        BenchError: it is georeferenced, but not of 8 bits.
    """
    try:
        rasterio = needed('rasterio', 'geo', f'reading {path} with its georeference')
    except BenchError:
        return None
    import logging
    import warnings

    logging.getLogger('rasterio').setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            opened = rasterio.open(path)
    except Exception:  # no TIFF, says whoever decodes it next
        return None
    raster = Raster(path, opened)
    if raster.georeference is None and raster.shape[0] * raster.shape[1] < 2**24:
        return None
    if any(kind != 'uint8' for kind in opened.dtypes[:3]):
        raise BenchError(
            f'the image {path} holds {opened.dtypes[0]} numbers; scale it to 8 bits, as '
            '"gdal_translate -ot Byte -scale IN OUT" does'
        )
    return raster


def write_geotiff(path: Path, labels: np.ndarray, nothing: int, colors: np.ndarray, where: Georeference | None) -> None:
    """Write labels (H, W) as a compressed, tiled GeoTIFF of one band; ``nothing`` is its no-data value."""
    rasterio = needed('rasterio', 'geo', 'a GeoTIFF')
    import warnings

    placed = {} if where is None else {'crs': where.crs, 'transform': where.transform}
    height, width = labels.shape
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with (
            written_beside(path) as temporary,
            rasterio.open(
                temporary, 'w', driver='GTiff', height=height, width=width, count=1, dtype=labels.dtype.name,
                nodata=nothing, compress='deflate', tiled=True, blockxsize=256, blockysize=256, BIGTIFF='IF_SAFER',
                **placed,
            ) as file,
        ):  # fmt: skip
            for first in range(0, height, ROWS):
                rows = labels[first : first + ROWS]
                file.write(rows, 1, window=((first, first + len(rows)), (0, width)))
            if labels.dtype == np.uint8:
                file.write_colormap(1, {index: tuple(map(int, color)) for index, color in enumerate(colors)})
