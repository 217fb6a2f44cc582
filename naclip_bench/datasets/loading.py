"""Reading images and masks, with an error that names the file."""

from __future__ import annotations

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..errors import BenchError
from ..files import read_file

#: Label that is not scored in masks of 16 bits, where 255 is a class like any other.
NOT_SCORED_16_BIT = 65535


def decode(content: bytes, path: str, what: str, **kwargs: object) -> np.ndarray:
    try:
        image = mmcv.imfrombytes(content, **kwargs)
    except Exception:  # each decoder has errors of its own; all mean the same
        image = None
    if image is None:
        raise BenchError(f'the {what} {path} cannot be decoded; copy it again from its archive')
    return image


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decode ``img_path`` with OpenCV to BGR uint8, its EXIF orientation applied.

    Adds img (H, W, 3), img_shape and ori_shape.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        results['img'] = decode(read_file(path, 'image'), path, 'image', flag='color', backend='cv2')
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Decode ``seg_map_path`` to labels, at the size of the original image.

    Labels keep their width (uint8 or 16 bits); with ``reduce_zero_label`` 0 is ignored and k becomes k - 1. A label
    outside the classes is an error here, before it can be scored as something else.

    Args:
        num_classes: how many classes the dataset has; checked where given.
        ignore_index: label of pixels that are not scored.
    """

    def __init__(self, num_classes: int | None = None, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def transform(self, results: dict) -> dict:
        path = results['seg_map_path']
        labels = self.labels(path, bool(results.get('reduce_zero_label')))
        if labels.shape != tuple(results['ori_shape']):
            raise BenchError(
                f'the mask {path} is {labels.shape[0]}x{labels.shape[1]}, but its image '
                f'is {results["ori_shape"][0]}x{results["ori_shape"][1]}'
            )
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def labels(self, path: str, reduce_zero_label: bool) -> np.ndarray:
        """The mask at ``path`` as classes (H, W) int32, ``ignore_index`` where a pixel is not scored.

        Raises:
            BenchError: the file cannot be decoded, or is no mask of this dataset.
        """
        labels = self.read(path)
        if labels.ndim != 2:
            raise BenchError(f'the mask {path} has {labels.shape[-1]} channels; it must hold one label a pixel')
        first = int(reduce_zero_label)
        if self.num_classes is not None and first + self.num_classes > 256 and labels.dtype.itemsize == 1:
            # Labels above 255 that were written as bytes have become others, which nothing below would notice.
            raise BenchError(
                f'the mask {path} has 8 bits a pixel, but the dataset has {self.num_classes} classes; '
                'convert it again to a PNG of 16 bits'
            )
        labels = labels.astype(np.int32)
        scored = labels != self.ignore_index
        if first:
            scored &= labels != 0
            labels = labels - 1
        labels[~scored] = self.ignore_index
        if self.num_classes is not None and scored.any():
            highest, lowest = int(labels[scored].max()), int(labels[scored].min())
            if highest >= self.num_classes or lowest < 0:
                # Said in the file's own labels, which the user can look up there.
                wrong = first + (highest if highest >= self.num_classes else lowest)
                ignored = f'0 and {self.ignore_index}' if first else self.ignore_index
                raise BenchError(
                    f'the mask {path} holds label {wrong}, but the dataset has labels '
                    f'{first}..{first + self.num_classes - 1} and ignores {ignored}; '
                    'was it converted for this dataset?'
                )
        return labels

    def read(self, path: str) -> np.ndarray:
        """The labels at ``path`` as they are stored."""
        return decode(read_file(path, 'mask'), path, 'mask', flag='unchanged', backend='pillow')
