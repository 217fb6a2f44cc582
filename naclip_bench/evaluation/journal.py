"""Finished images of a leaf that is being computed, on disk as they are finished: what an interrupted run goes on with.

A journal is a folder of files, one a process, so that no two processes write one file. A file is a sequence of records,
each two numpy arrays: a head in JSON (names, digests and number of cells of the images of a batch, and a checksum) and
the cells. A process that is killed in the middle of a record leaves half of it at the end; that half is dropped when
the journal is read, and its images are computed again.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..files import writing

#: What journals are called in their folder.
PATTERN = 'images-*.npys'


class Finished(NamedTuple):
    """An image of a leaf.

    Attributes:
        digest: of image and mask; see :func:`naclip_bench.datasets.digest.image_digests`.
        cells: of its confusion matrix; see :func:`naclip_bench.evaluation.confusion.to_cells`.
    """

    digest: str
    cells: np.ndarray


class Journal:
    """What this process finishes of a leaf.

    Args:
        folder: where its file is made when the first image is written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / PATTERN.replace('*', uuid.uuid4().hex)
        self._file: BinaryIO | None = None

    def append(self, images: Mapping[str, Finished]) -> None:
        """Write finished images, by name, in one piece."""
        if not images:
            return
        cells = np.concatenate([image.cells for image in images.values()])
        head = {
            'names': list(images),
            'digests': [image.digest for image in images.values()],
            'counts': [len(image.cells) for image in images.values()],
            'crc': zlib.crc32(cells.tobytes()),
        }
        with writing(self._path):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open('ab')
            for array in (np.frombuffer(json.dumps(head).encode(), np.uint8), cells):
                np.save(self._file, array)
            self._file.flush()

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()


def read_journals(folder: Path) -> dict[str, Finished]:
    """Read what all processes finished, by name, up to where a file breaks off."""
    finished: dict[str, Finished] = {}
    for path in sorted(Path(folder).glob(PATTERN)):
        with path.open('rb') as file:
            while (record := _read_record(file)) is not None:
                finished |= record
    return finished


def _read_record(file: BinaryIO) -> dict[str, Finished] | None:
    try:
        head = json.loads(np.load(file).tobytes())
        cells = np.load(file)
        if zlib.crc32(cells.tobytes()) != head['crc']:
            return None
        parts = np.split(cells, np.cumsum(head['counts'])[:-1])
        return dict(zip(head['names'], map(Finished, head['digests'], parts), strict=True))
    except Exception:  # numpy's reader has errors of many kinds; all mean that the record is not whole
        return None
