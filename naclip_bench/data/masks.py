"""Masks from one labelling to another, over all cores."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import BenchError
from ..files import written_beside
from ..mask_file import read_mask
from ..parallel import over_cores

#: Label of pixels that are not scored, in masks of 8 and of 16 bits.
IGNORED_8, IGNORED_16 = 255, 65535

#: In a table for :func:`relabel`: a label that the source must not hold.
UNEXPECTED = -1

#: The last chunk of a whole PNG.
PNG_END = b'IEND\xaeB`\x82'


def convert_masks(jobs: Sequence[tuple[Path, Path]], convert: Callable[[Path], np.ndarray], what: str) -> None:
    """Write every target mask from its source, over all cores.

    A target is written beside its place and renamed, and one that is there whole is left as it is: an interrupted run
    goes on where it was, and running again changes nothing. A process holds one mask at a time.

    Args:
        jobs: source and target of each mask.
        convert: labels (H, W), uint8 or uint16, of a source. A function of a module or a partial of one, since
            other processes call it.
        what: the dataset, as messages call it.

    Raises:
        BenchError: a source is missing or cannot be converted, or a target cannot be written; names the file. What is
            finished by then stays.
    """
    todo = [job for job in jobs if not is_whole(job[1])]
    check_there([source for source, _ in todo], what)
    for _ in over_cores(partial(_convert_mask, convert), todo, f'{what} masks'):
        pass


def check_there(paths: Sequence[Path], what: str) -> None:
    """See that all files are there.

    Raises:
        BenchError: how many are not, and the first of them.
    """
    lost = [path for path in paths if not path.is_file()]
    if lost:
        raise BenchError(f'{what}: {len(lost)} of {len(paths)} files are missing, the first {lost[0]}; unpack again')


def is_whole(path: Path) -> bool:
    """True for a PNG that is there to its end; pillow decodes one that lacks it and says nothing."""
    try:
        with path.open('rb') as file:
            file.seek(max(path.stat().st_size - 1024, 0))
            return PNG_END in file.read()
    except OSError:
        return False


def read_labels(path: Path) -> np.ndarray:
    """The labels (H, W) of a mask with one channel; of a palette image its indices.

    Raises:
        BenchError: not there, damaged, or with colors in place of labels.
    """
    return read_mask(str(path)).labels


def open_mask(path: Path) -> Image.Image:
    """A decoded image.

    Raises:
        BenchError: not there or damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise BenchError(f'there is no {path}; unpack its archive again') from None
    except Exception:  # each decoder has errors of its own; all mean the same
        image = None
    if image is None or not is_whole(path):
        raise BenchError(f'{path} is damaged; delete it and unpack its archive again')
    return image


def relabel(labels: np.ndarray, table: np.ndarray, path: Path, expected: str) -> np.ndarray:
    """Every label replaced by its place in ``table``.

    Args:
        labels: not negative.
        table: new label of each old one, or ``UNEXPECTED``.
        path: the file they are from, for the message.
        expected: the old labels that there may be, in words.

    Raises:
        BenchError: a label that is ``UNEXPECTED`` or outside the table.
    """
    if labels.max(initial=0) >= len(table):
        raise BenchError(_unexpected(path, labels.max(), expected))
    new = table[labels]
    if new.min(initial=0) == UNEXPECTED:
        raise BenchError(_unexpected(path, labels[new == UNEXPECTED].min(), expected))
    return new


def _unexpected(path: Path, label: int, expected: str) -> str:
    return f'{path} holds label {label}; expected: {expected}; delete it and unpack the official archive again'


def _convert_mask(convert: Callable[[Path], np.ndarray], job: tuple[Path, Path]) -> None:
    source, target = job
    labels = convert(source)
    with written_beside(target, alone=True) as temporary:
        # Labels come in runs: a third faster than pillow's default, and smaller.
        Image.fromarray(labels).save(temporary, format='PNG', compress_type=zlib.Z_RLE)
