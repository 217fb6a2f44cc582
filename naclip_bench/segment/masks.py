"""Masks that segmentations are scored against: index PNGs or colored ones, with labels of any values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import BenchError, did_you_mean
from ..evaluation.confusion import Scores, confusion_matrix, from_cells, to_cells
from ..files import read_file
from ..mask_file import read_mask

SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif')

#: In a table of labels or colors: what is not scored.
IGNORED = 'ignore'

#: Label of a pixel that is not scored.
NOT_SCORED = -1


@dataclass(frozen=True)
class Masks:
    """A folder of masks, one an image, under the image's name.

    Args:
        folder: where they lie.
        names: of the classes, in the order of their labels.
        colors: file that says what each color means, a line each: ``255 0 0 boat``.
        labels: file that says what each value means, a line each: ``7 boat``. Without one, the values are 0, 1, ... in
            the order of the classes, and 255 (65535 with 16 bits) is not scored.
        reduce_zero: 0 is not scored, and value k is class k - 1.

    Raises:
        BenchError: the folder or a file is not there, or a line cannot be read.
    """

    folder: Path
    names: tuple[str, ...]
    colors: Path | None = None
    labels: Path | None = None
    reduce_zero: bool = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise BenchError(f'masks: there is no folder {self.folder}')
        if sum(map(bool, (self.colors, self.labels, self.reduce_zero))) > 1:
            raise BenchError('masks: colors, label values and a zero label that is not scored exclude one another')
        _ = self.table

    @cached_property
    def table(self) -> Mapping[tuple[int, ...], int] | None:
        """Class by value or by color; None where values are the classes."""
        if self.colors is None and self.labels is None:
            return None
        path, count = (self.colors, 3) if self.colors else (self.labels, 1)
        found: dict[tuple[int, ...], int] = {}
        for number, line in enumerate(read_file(str(path), 'table').decode('utf-8-sig', 'replace').splitlines(), 1):
            if not line.strip() or line.startswith('#'):
                continue
            words = line.replace(',', ' ', count).split(maxsplit=count)
            name = words[-1].strip()
            try:
                key = tuple(map(int, words[:count]))
                if len(words) != count + 1 or not all(0 <= value <= 65535 for value in key):
                    raise ValueError
            except ValueError:
                example = '255 0 0 boat' if count == 3 else '7 boat'
                raise BenchError(f'{path}, line {number}: "{line}" is not like "{example}"') from None
            if name != IGNORED and name not in self.names:
                raise BenchError(
                    f'{path}, line {number}: there is no class "{name}"{did_you_mean(name, self.names)}, or {IGNORED}'
                )
            found[key] = NOT_SCORED if name == IGNORED else self.names.index(name)
        if not found:
            raise BenchError(f'{path} has no line')
        return found

    def path_of(self, name: str) -> Path:
        """The mask of an image.

        Raises:
            BenchError: there is none.
        """
        for suffix in SUFFIXES:
            path = self.folder / f'{name}{suffix}'
            if path.is_file():
                return path
        raise BenchError(f'there is no mask {self.folder / name}.png')

    @cached_property
    def digest(self) -> str:
        """Hash of how masks are read."""
        return hashlib.sha256(repr((self.names, self.table, self.reduce_zero)).encode()).hexdigest()

    def read(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """Classes (H, W) int32, ``NOT_SCORED`` where a pixel is not scored.

        Raises:
            BenchError: there is none, it is of another size, or holds what the classes do not have.
        """
        path = self.path_of(name)
        values = _colors(path) if self.colors else read_mask(str(path)).labels[..., None]
        if values.shape[:2] != tuple(size):
            raise BenchError(
                f'the mask {path} is {values.shape[1]} x {values.shape[0]} pixels, but its image {size[1]} x {size[0]}'
            )
        flat = values.reshape(-1, values.shape[2]).astype(np.int64)
        # One number a pixel, so that they can be counted fast.
        codes = flat @ (65536 ** np.arange(values.shape[2])[::-1])
        kinds, inverse = np.unique(codes, return_inverse=True)
        meaning = np.empty(len(kinds), np.int32)
        void = int(np.iinfo(values.dtype).max) if values.dtype.kind == 'u' else 65535
        for place, code in enumerate(kinds.tolist()):
            key = tuple((code >> (16 * shift)) & 65535 for shift in reversed(range(values.shape[2])))
            meaning[place] = self._class_of(key, void, path)
        return meaning[inverse].reshape(size)

    def _class_of(self, key: tuple[int, ...], void: int, path: Path) -> int:
        if self.table is not None:
            if key not in self.table:
                what = f'the color {" ".join(map(str, key))}' if self.colors else f'the label {key[0]}'
                raise BenchError(f'the mask {path} holds {what}, which {self.colors or self.labels} does not have')
            return self.table[key]
        (value,) = key
        if value == void or (self.reduce_zero and value == 0):
            return NOT_SCORED
        value -= self.reduce_zero
        if value >= len(self.names):
            last = len(self.names) - 1 + self.reduce_zero
            raise BenchError(
                f'the mask {path} holds the label {key[0]}, but the {len(self.names)} classes end at {last}; '
                'say by a file what its labels mean'
            )
        return value

    def cells(self, name: str, labels: np.ndarray) -> list[list[int]]:
        """Pixels by true and predicted class; see :func:`to_cells`."""
        truth = self.read(name, labels.shape)
        truth[labels >= len(self.names)] = NOT_SCORED
        predicted = np.where(truth == NOT_SCORED, 0, labels).astype(np.int32)
        counted = confusion_matrix(
            torch.from_numpy(predicted), torch.from_numpy(truth), len(self.names), ignore_index=NOT_SCORED
        )
        return to_cells(counted).tolist()


def scored(names: Sequence[str], images: Sequence[list[list[int]]]) -> tuple[list[dict], dict[str, float]]:
    """Rows of classes and summary metrics, as :func:`print_scores` takes them."""
    cells = [np.array(image, np.int64).reshape(-1, 3) for image in images]
    confusion = from_cells(cells, len(names))
    scores, truth = Scores.of(confusion), confusion.sum(1)
    rows = [
        {'class': name, 'IoU': _percent(iou), 'Acc': _percent(accuracy), 'pixels': int(pixels)}
        for name, iou, accuracy, pixels in zip(names, scores.iou, scores.accuracy, truth, strict=True)
    ]
    return rows, {name: None if np.isnan(value) else value for name, value in scores.percent().items()}


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else 100 * float(value)


def _colors(path: Path) -> np.ndarray:
    try:
        with Image.open(BytesIO(read_file(str(path), 'mask'))) as image:
            return np.asarray(image.convert('RGB'))
    except (OSError, SyntaxError, ValueError):
        raise BenchError(f'the mask {path} cannot be decoded') from None
