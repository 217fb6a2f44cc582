"""Predictions as index PNGs, to be scored or submitted elsewhere."""

from __future__ import annotations

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.structures import SegDataSample
from PIL import Image

from .image_files import ImageFiles


class PredictionFiles(ImageFiles):
    """Writes the only prediction of every image as a PNG of labels.

    A PNG has the image's original size and the labels of the dataset's mask files: where a dataset reduces the zero
    label, class k is k + 1 there, and where it scores other classes than its masks tell apart, theirs. 8 bits a pixel
    where all labels fit, else 16.

    Args:
        dataset: says what labels its masks have.
        *where: see :class:`ImageFiles`.
    """

    def __init__(self, dataset: BaseSegDataset, *where: object) -> None:
        super().__init__(*where)
        count, first = len(dataset.metainfo['classes']), int(bool(dataset.reduce_zero_label))
        stored = {new: old for old, new in (dataset.label_map or {}).items() if 0 <= new < count}
        labels = first + np.array([stored.get(label, label) for label in range(count)])
        self.stored = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)

    def drawn(self, sample: SegDataSample) -> Image.Image:
        (labels,) = sample.predictions.values()
        return Image.fromarray(self.stored[labels.cpu().numpy()])
