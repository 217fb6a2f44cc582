"""The labels in a mask's file, as they are stored; the one reader of runs, checks and conversions.

Nothing heavy is imported here: processes that only read files start without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from .files import PNG, FileError, read_file

#: Formats that change labels, or may.
LOSSY = {'JPEG', 'MPO', 'JPEG2000', 'WEBP', 'AVIF'}

#: Formats whose samples pillow hands over as they are stored; others are scaled (PGM) or seldom met.
LOSSLESS = {'PNG', 'TIFF', 'BMP', 'GIF'}

#: What pillow multiplies the gray samples of a PNG of so many bits by.
SCALE = {2: 85, 4: 17}

#: Where a PNG has its bits a sample: in the first chunk, behind the size.
DEPTH = len(PNG) + 16

#: Tags of a TIFF: bits a sample, and its kind (0: white is zero).
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262

Color = tuple[int, int, int]


class Mask(NamedTuple):
    """What a mask's file holds.

    Attributes:
        labels: (H, W), of the width they are stored in: uint8, or 16 bits and more.
        palette: RGB of labels 0, 1, ...; empty for gray masks.
    """

    labels: np.ndarray
    palette: list[Color]


def read_mask(path: str) -> Mask:
    """Read the labels of a mask, whatever its bits a pixel; of a palette image its indices.

    Raises:
        FileError: it cannot be read, is truncated, in a lossy format, or holds no single label a pixel.
    """
    content = read_file(path, 'mask')
    try:
        with Image.open(BytesIO(content)) as image:
            frames = getattr(image, 'n_frames', 1)
            image.load()
    except Exception:  # each decoder has errors of its own; all mean the same
        message = f'the mask {path} cannot be decoded; copy it again from its archive'
        raise FileError(message, 'unreadable') from None
    if image.format in LOSSY or image.info.get('compression') == 'jpeg':
        message = f'the mask {path} is a {image.format}, a lossy format that changes labels; use a PNG'
        raise FileError(f'{message} made from the original', 'lossy', image.format)
    if image.format not in LOSSLESS or frames > 1 or _is_changed_tiff(image):
        message = f'the mask {path} is a {image.format} whose labels pillow may change; save it as a PNG'
        raise FileError(message, 'unreadable', image.format)
    labels = np.asarray(image)
    if labels.ndim != 2:
        message = f'the mask {path} has {labels.shape[-1]} channels; it must hold one label a pixel'
        raise FileError(message, 'of colors', image.mode)
    if labels.dtype.kind == 'f' or (labels.dtype.itemsize > 2 and not 0 <= labels.min() <= labels.max() <= 0xFFFF):
        message = f'the mask {path} holds numbers that are no labels; they must be whole, from 0 to 65535'
        raise FileError(message, 'of colors', image.mode)
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    elif image.format == 'PNG' and image.mode == 'L' and (scale := SCALE.get(content[DEPTH])):
        labels = labels // scale
    flat = image.getpalette() or [] if image.mode == 'P' else []
    return Mask(labels, list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)))


def _is_changed_tiff(image: Image.Image) -> bool:
    if image.format != 'TIFF':
        return False
    return image.tag_v2.get(PHOTOMETRIC) == 0 or not set(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) <= {1, 8, 16, 32}


def reordered(palette: Sequence[Color], labels: np.ndarray, own: Mapping[Color, int]) -> dict[int, int]:
    """Labels whose color is another label's: by label, the one that has its color in the dataset.

    Programs that shrink PNGs sort palettes; colors stay, labels do not. Palettes that are not the dataset's say
    nothing: at least half of the colors up to the highest label must be the dataset's own.

    Args:
        palette: of the file.
        labels: that occur in the mask.
        own: label of each color of the dataset.
    """
    moved = {label: own[color] for label, color in enumerate(palette) if own.get(color, label) != label}
    if not moved:
        return {}
    used = np.unique(labels)
    used = used[used < len(palette)].tolist()
    known = sum(color in own for color in palette[: max(used, default=-1) + 1])
    return {label: moved[label] for label in used if label in moved} if 2 * known > max(used, default=0) else {}
