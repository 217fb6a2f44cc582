"""Whatever is given as an image, as pixels (H, W, 3) uint8 RGB; or one line that says why it is none.

Files that need nothing done are decoded as the benchmarks decode theirs, so that labels are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import BenchError
from ..files import is_truncated, read_file
from .geo import Georeference, Raster, open_raster

#: Of 16 bits, what an image must reach: one of 12 bits or less would come out nearly black.
DARK = 4096

#: Pixels above which a GeoTIFF is read as it is needed.
STREAMED = 2**24

TIFFS = ('.tif', '.tiff')


@dataclass
class Picture:
    """An image to segment.

    Attributes:
        name: for messages.
        image: (H, W, 3) uint8 RGB; an array, or what reads rows of a file when they are asked for.
        raster: the GeoTIFF that it comes from.
    """

    name: str
    image: np.ndarray | Raster
    raster: Raster | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[:2]

    @property
    def georeference(self) -> Georeference | None:
        """Where it lies on Earth."""
        return self.raster.georeference if self.raster is not None else None


def picture_of(given: Any) -> Picture:
    """Take an image.

    Args:
        given: a path; the bytes of a file; a PIL image; a numpy array (H, W), (H, W, 3) or (H, W, 4), RGB; or a torch
            tensor (3, H, W), (1, H, W), (4, H, W) or (H, W). Numbers are uint8, uint16 over their whole range, bool, or
            floats from 0 to 1. Transparent pixels are laid on white.

    Raises:
        BenchError: it is none of these, or cannot be decoded.
    """
    if isinstance(given, Picture):
        return given
    if isinstance(given, str | Path):
        return _of_path(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return Picture('the image', _decoded(bytes(given), 'the image'))
    if isinstance(given, Image.Image):
        return Picture(getattr(given, 'filename', '') or 'the image', _of_pil(given, 'the image'))
    if isinstance(given, torch.Tensor):
        array = given.detach().cpu()
        array = array.float() if array.dtype == torch.bfloat16 else array
        if array.ndim == 3:
            if array.shape[0] not in (1, 3, 4):
                raise BenchError(f'the tensor is {tuple(array.shape)}; it must be (3, H, W), (1, H, W) or (H, W)')
            array = array.permute(1, 2, 0)
        return Picture('the image', _of_array(array.numpy(), 'the tensor'))
    if isinstance(given, np.ndarray):
        return Picture('the image', _of_array(given, 'the array'))
    raise BenchError(f'cannot segment a {type(given).__name__}; give a path, bytes, a PIL image, an array or a tensor')


def _of_path(given: str | Path) -> Picture:
    name = str(given)
    if '://' in name:
        raise BenchError(f'{name} is an address; download the image and give its path or bytes')
    if Path(name).is_dir():
        raise BenchError(f'{name} is a folder; give its images one by one, or as a list')
    if Path(name).suffix.lower() in TIFFS:
        raster = open_raster(Path(name))
        if raster is not None:
            image = raster if raster.shape[0] * raster.shape[1] > STREAMED else raster[:]
            return Picture(name, image, raster)
    return Picture(name, _decoded(read_file(name, 'image'), f'the image {name}'))


def _decoded(content: bytes, name: str) -> np.ndarray:
    """Decode a file's bytes."""
    if not content:
        raise BenchError(f'{name} is empty')
    if is_truncated(content):
        raise BenchError(f'{name} is truncated; copy it again from where it came')
    try:
        with Image.open(BytesIO(content)) as opened:
            plain = opened.mode in ('1', 'L', 'RGB', 'P', 'CMYK', 'YCbCr') and 'transparency' not in opened.info
            plain = plain and opened.format != 'GIF' and getattr(opened, 'n_frames', 1) == 1
            if not plain and not opened.mode.startswith(('I', 'F')):
                return _of_pil(opened, name)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass  # OpenCV may know it
    try:
        if not content.startswith(b'\xff\xd8'):
            stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            if stored is not None and stored.dtype != np.uint8:
                colors = stored if stored.ndim == 2 else stored[..., [2, 1, 0, *range(3, stored.shape[2])]]
                return _of_array(colors, name)
        image = mmcv.imfrombytes(content, flag='color', backend='cv2')
    except (cv2.error, ValueError, IndexError):
        image = None
    if image is None:
        raise BenchError(f'{name} cannot be decoded; is it an image?')
    return np.ascontiguousarray(image[..., ::-1])


def _of_pil(image: Image.Image, name: str) -> np.ndarray:
    """The first frame, upright, on white."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(('I', 'F')):
            return _of_array(np.asarray(image), name)
        if image.has_transparency_data:
            image = image.convert('RGBA')
            image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
        return _of_array(np.asarray(image.convert('RGB')), name)
    except (OSError, SyntaxError, ValueError) as error:
        raise BenchError(f'{name} cannot be decoded: {error}') from None


def _of_array(array: np.ndarray, name: str) -> np.ndarray:
    shape = array.shape
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        hint = '; the colors come last, transpose(1, 2, 0)' if array.shape[0] in (1, 3, 4) else ''
        raise BenchError(f'{name} is {shape}; it must be (H, W), (H, W, 3) or (H, W, 4){hint}')
    if array.ndim not in (2, 3):
        raise BenchError(f'{name} has {array.ndim} dimensions; it must be (H, W), (H, W, 3) or (H, W, 4)')
    if not array.size:
        raise BenchError(f'{name} is empty: {shape}')
    array = _bytes_of(array, name)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*shape[:2], 1), 3, axis=2)
    if array.shape[2] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        return ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return array


def _bytes_of(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers as uint8."""
    kind = array.dtype
    if kind == np.uint8:
        return array
    if kind.kind == 'b':
        return array.astype(np.uint8) * 255
    if kind.kind == 'f':
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise BenchError(f'{name} holds floats that are not all from 0 to 1; scale them, or give uint8')
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    # PIL has 16 bits as int32.
    if kind.kind in 'iu' and array.min() >= 0 and array.max() <= 65535:
        if array.max() < DARK:
            raise BenchError(
                f'{name} holds whole numbers of {8 * kind.itemsize} bits up to {array.max()}, nearly black of 65535; '
                'scale them to 8 bits, or to the whole range of 16'
            )
        # As OpenCV does.
        return (array.astype(np.uint32) >> 8).astype(np.uint8)
    raise BenchError(f'{name} holds {kind} numbers; give uint8, uint16, or floats from 0 to 1')
