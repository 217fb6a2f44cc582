"""Reading images and masks, with an error that names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS

from ..errors import BenchError
from ..files import read_file
from ..mask_file import Color, Mask, read_mask, reordered

#: Label that is not scored in masks of 16 bits, where 255 is a class like any other.
NOT_SCORED_16_BIT = 65535

#: What mmseg's ``label_map`` makes of a class that is left out, whatever ``ignore_index`` is.
LEFT_OUT = 255


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decode ``img_path`` with OpenCV to BGR uint8, its EXIF orientation applied.

    Adds img (H, W, 3), img_shape and ori_shape.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            image = mmcv.imfrombytes(read_file(path, 'image'), flag='color', backend='cv2')
        except cv2.error:
            image = None
        if image is None:
            raise BenchError(f'the image {path} cannot be decoded; copy it again from its archive')
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Decode ``seg_map_path`` to labels, at the size of the original image; mmseg's ``LoadAnnotations`` in 32 bits.

    With ``reduce_zero_label`` 0 is ignored and k becomes k - 1. Where a dataset is given classes in another order, or
    fewer, its ``label_map`` then takes each label to its new class, and classes left out are ignored. A label outside
    the classes is an error here, before it can be scored as something else.

    Args:
        num_classes: how many classes the masks tell apart; checked where given.
        ignore_index: label of pixels that are not scored.

    Attributes:
        colors: label of each color of the dataset, where it has colors; see :func:`reordered`.
    """

    def __init__(self, num_classes: int | None = None, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.colors: dict[Color, int] = {}

    def transform(self, results: dict) -> dict:
        labels = self.labels_of(results)
        if labels.shape != tuple(results['ori_shape']):
            raise BenchError(
                f'the mask {results["seg_map_path"]} is {labels.shape[0]}x{labels.shape[1]}, but its image '
                f'is {results["ori_shape"][0]}x{results["ori_shape"][1]}'
            )
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def labels_of(self, info: dict) -> np.ndarray:
        """The mask of an item of a dataset; see :meth:`labels`."""
        return self.labels(info['seg_map_path'], bool(info.get('reduce_zero_label')), info.get('label_map'))

    def labels(self, path: str, reduce_zero_label: bool, label_map: Mapping[int, int] | None = None) -> np.ndarray:
        """The mask at ``path`` as classes (H, W) int32, ``ignore_index`` where a pixel is not scored.

        Raises:
            BenchError: the file cannot be decoded, or is no mask of this dataset.
        """
        labels, palette = self.read(path)
        first, count = int(reduce_zero_label), len(label_map) if label_map else self.num_classes
        if moved := reordered(palette, labels, self.colors):
            label, own = next(iter(moved.items()))
            raise BenchError(
                f'the mask {path} has a palette in another order: label {label} has the color of label {own}; '
                'a program that shrinks PNGs did it: copy the mask again from its archive'
            )
        if count is not None and first + count > 256 and labels.dtype.itemsize == 1:
            # Labels above 255 that were written as bytes have become others, which nothing below would notice.
            raise BenchError(
                f'the mask {path} has 8 bits a pixel, but the dataset has {count} classes; '
                'convert it again to a PNG of 16 bits'
            )
        labels = labels.astype(np.int32)
        scored = labels != self.ignore_index
        if first:
            scored &= labels != 0
            labels = labels - 1
        labels[~scored] = self.ignore_index
        if count is not None and scored.any():
            highest, lowest = int(labels[scored].max()), int(labels[scored].min())
            if highest >= count or lowest < 0:
                # Said in the file's own labels, which the user can look up there.
                wrong = first + (highest if highest >= count else lowest)
                ignored = f'0 and {self.ignore_index}' if first else self.ignore_index
                raise BenchError(
                    f'the mask {path} holds label {wrong}, but the dataset has labels '
                    f'{first}..{first + count - 1} and ignores {ignored}; '
                    'was it converted for this dataset?'
                )
        if label_map:
            new = np.array([label_map[label] for label in range(count)], np.int32)
            new[new == LEFT_OUT] = self.ignore_index
            labels[scored] = new[labels[scored]]
        return labels

    def read(self, path: str) -> Mask:
        """The labels at ``path`` as they are stored."""
        return read_mask(path)


def set_up_masks(dataset: BaseSegDataset) -> None:
    """Have every mask that the dataset loads checked against its classes.

    Raises:
        BenchError: the label that is not scored is a class as well, or mmseg cannot map this many classes.
    """
    for step in dataset.pipeline.transforms:
        if isinstance(step, LoadMask):
            _set_up(step, dataset)


def loader_of(dataset: BaseSegDataset) -> LoadMask:
    """What loads the masks of a dataset, set up for it."""
    # A dataset without files has a step of its own.
    kind = next((type(step) for step in dataset.pipeline.transforms if isinstance(step, LoadMask)), LoadMask)
    loader = kind()
    _set_up(loader, dataset)
    return loader


def _set_up(loader: LoadMask, dataset: BaseSegDataset) -> None:
    loader.num_classes, loader.ignore_index, loader.colors = len(stored_classes(dataset)), dataset.ignore_index, {}
    loader.colors = colors_of(dataset)


def stored_classes(dataset: BaseSegDataset) -> Sequence[str]:
    """The classes that masks tell apart, in the order of their labels; the dataset may score others of them."""
    return dataset.METAINFO['classes'] if dataset.label_map else dataset.metainfo['classes']


def colors_of(dataset: BaseSegDataset) -> dict[Color, int]:
    """Label, as masks have it, of each color that the dataset's authors gave to one class alone."""
    palette = [tuple(color) for color in dataset.METAINFO.get('palette', ())]
    first = int(bool(dataset.reduce_zero_label))
    return {color: first + index for index, color in enumerate(palette) if palette.count(color) == 1}
