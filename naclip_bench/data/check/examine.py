"""One image and its mask, looked into; the work of a process, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from ...files import is_truncated


class Pair(NamedTuple):
    """An image and its mask; None for a file that is not there."""

    image: str | None
    mask: str | None


@dataclass
class Examined:
    """What one pair holds.

    Attributes:
        faults: a kind of :data:`naclip_bench.data.check.dataset.FAULTS`, and what is to be said of this file.
        labels: those of the mask, ascending; None where there is no mask of labels.
        pixels: of each of ``labels``.
        narrow: the mask has a byte a pixel.
        digest: sha256 of the mask's height, width and labels, whatever the PNG's depth, palette and compression.
    """

    faults: dict[str, str] = field(default_factory=dict)
    labels: np.ndarray | None = None
    pixels: np.ndarray | None = None
    narrow: bool = False
    digest: bytes | None = None


def examine(pair: Pair) -> Examined:
    """Read both files whole: the image to its end, the mask to its labels."""
    found = Examined()
    size = None if pair.image is None else _image_size(pair.image, found.faults)
    labels = None if pair.mask is None else _read_labels(pair.mask, found.faults)
    if labels is None:
        return found
    if size is not None and labels.shape != size:
        height, width = labels.shape
        found.faults['size'] = f'{height}x{width} for {size[0]}x{size[1]}'
    found.narrow = labels.itemsize == 1
    pixels = np.bincount(labels.ravel())
    found.labels = np.flatnonzero(pixels)
    found.pixels = pixels[found.labels]
    head = np.array(labels.shape, '<u4').tobytes()
    found.digest = hashlib.sha256(head + labels.astype('<u2').tobytes()).digest()
    return found


def _image_size(path: str, faults: dict[str, str]) -> tuple[int, int] | None:
    """Height and width, upright; None where the file is damaged."""
    content = _content(path, 'image', faults)
    if content is None:
        return None
    try:
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            # All of the file is read all the same, and its pixels, an eighth a side, cost less.
            image.draft(None, (1, 1))
            image.load()
    except Exception:  # each decoder has errors of its own; all mean the same
        faults['image unreadable'] = ''
        return None
    return (width, height) if lies else (height, width)


def _read_labels(path: str, faults: dict[str, str]) -> np.ndarray | None:
    """Labels (H, W); None where the file is damaged or holds something else."""
    content = _content(path, 'mask', faults)
    if content is None:
        return None
    try:
        with Image.open(BytesIO(content)) as image:
            mode, labels = image.mode, np.asarray(image)
    except Exception:
        faults['mask unreadable'] = ''
        return None
    if labels.ndim != 2 or (labels.dtype.kind not in 'ub' and not 0 <= labels.min() <= labels.max() <= 0xFFFF):
        faults['mask of colors'] = mode
        return None
    return labels


def _content(path: str, what: str, faults: dict[str, str]) -> bytes | None:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        faults[f'{what} unreadable'] = error.strerror
        return None
    if is_truncated(content):
        faults[f'{what} truncated'] = ''
        return None
    return content
