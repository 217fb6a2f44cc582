"""The square that CLIPtrase's authors segment and score."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from ..errors import BenchError


def central_square(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """The central square of ``image``, its short side first resized to ``size`` pixels; torchvision's arithmetic."""
    short = min(image.size)
    image = image.resize(tuple(int(size * side / short) for side in image.size), resample)
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


@TRANSFORMS.register_module()
class CentralSquare(BaseTransform):
    """Cut image (bicubic) and mask (nearest) to their central square; prediction and scoring are at its size.

    Stands behind ``LoadMask``. Changes img, gt_seg_map, img_shape and ori_shape, and adds central_square, the size.

    Args:
        size: side of the square in pixels.
    """

    def __init__(self, size: int) -> None:
        if not isinstance(size, int) or size < 1:
            raise BenchError(f'CentralSquare: size is {size!r}; it must be a whole number of pixels')
        self.size = size

    def transform(self, results: dict) -> dict:
        # The three colors are resized apart, so that their order is of no account.
        image = central_square(Image.fromarray(results['img']), self.size, Image.Resampling.BICUBIC)
        labels = central_square(Image.fromarray(results['gt_seg_map']), self.size, Image.Resampling.NEAREST)
        results['img'], results['gt_seg_map'] = np.array(image), np.array(labels)
        results['img_shape'] = results['ori_shape'] = (self.size, self.size)
        results['central_square'] = self.size
        return results


@TRANSFORMS.register_module()
class VoidIsBackground(BaseTransform):
    """Score ignored pixels as class 0, the background; leave out an image that shows no other class.

    CLIPtrase's annotations ignore both, and its code makes one class of them.

    Args:
        ignore_index: label of pixels that are not scored.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        labels = results['gt_seg_map']
        nothing = (labels == self.ignore_index) | (labels == 0)
        results['gt_seg_map'] = np.where(nothing, self.ignore_index if nothing.all() else 0, labels)
        return results
