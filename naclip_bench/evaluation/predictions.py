"""Predictions as index PNGs, to be scored or submitted elsewhere."""

from __future__ import annotations

import numpy as np
from mmseg.structures import SegDataSample
from PIL import Image

from .image_files import ImageFiles


class PredictionFiles(ImageFiles):
    """Writes the only prediction of every image as a PNG of labels.

    A PNG has the image's original size and the labels of the dataset's mask files: where a dataset reduces the zero
    label, class k is k + 1 there. 8 bits a pixel where all labels fit, else 16.

    Args:
        classes: number of classes.
        reduce_zero_label: of the dataset.
        *where: see :class:`ImageFiles`.
    """

    def __init__(self, classes: int, reduce_zero_label: bool, *where: object) -> None:
        super().__init__(*where)
        self.first = int(reduce_zero_label)
        self.dtype = np.uint8 if self.first + classes <= 256 else np.uint16

    def drawn(self, sample: SegDataSample) -> Image.Image:
        (labels,) = sample.predictions.values()
        return Image.fromarray((labels.cpu().numpy() + self.first).astype(self.dtype))
