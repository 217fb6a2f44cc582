"""One image and its mask, looked into; the work of a process, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from ..files import FileError, read_file
from ..mask_file import Color, read_mask


class Pair(NamedTuple):
    """An image and its mask; None for a file that is not there."""

    image: str | None
    mask: str | None


@dataclass
class Examined:
    """What one pair holds.

    Attributes:
        faults: a kind of :data:`naclip_bench.checks.contents.FAULTS`, and what is to be said of this file.
        labels: those of the mask, ascending; None where there is no mask of labels.
        pixels: of each of ``labels``.
        narrow: the mask has a byte a pixel.
        palette: colors of labels 0, 1, ... up to the last that occurs; empty for gray masks.
        digest: sha256 of the mask's height, width and labels, whatever the PNG's depth, palette and compression.
    """

    faults: dict[str, str] = field(default_factory=dict)
    labels: np.ndarray | None = None
    pixels: np.ndarray | None = None
    narrow: bool = False
    palette: Sequence[Color] = ()
    digest: bytes | None = None


def examine(pair: Pair) -> Examined:
    """Read both files whole: the image to its end, the mask to its labels."""
    found = Examined()
    size = None if pair.image is None else _image_size(pair.image, found.faults)
    try:
        mask = None if pair.mask is None else read_mask(pair.mask)
    except FileError as fault:
        found.faults[f'mask {fault.kind}'] = fault.detail
        mask = None
    if mask is None:
        return found
    labels = mask.labels
    if size is not None and labels.shape != size:
        height, width = labels.shape
        found.faults['size'] = f'{height}x{width} for {size[0]}x{size[1]}'
    found.narrow = labels.itemsize == 1
    pixels = np.bincount(labels.ravel())
    found.labels = np.flatnonzero(pixels)
    found.pixels = pixels[found.labels]
    found.palette = mask.palette[: len(pixels)]
    head = np.array(labels.shape, '<u4').tobytes()
    found.digest = hashlib.sha256(head + labels.astype('<u2').tobytes()).digest()
    return found


def _image_size(path: str, faults: dict[str, str]) -> tuple[int, int] | None:
    """Height and width, upright; None where the file is damaged."""
    try:
        content = read_file(path, 'image')
    except FileError as fault:
        faults[f'image {fault.kind}'] = fault.detail
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
