"""Pictures of what was predicted of a dataset's images, beside their ground truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from ..datasets.square import central_square
from ..palette import dataset_palette
from .image_files import ImageFiles
from .overlay import TRUTH, side_by_side


def image_of(dataset: BaseDataset, sample: SegDataSample) -> np.ndarray:
    """The image (H, W, 3) uint8, RGB, that a sample's labels lie on."""
    load = dataset.pipeline.transforms[0]
    image = Image.fromarray(load(dict(img_path=sample.img_path))['img'][..., ::-1])
    if sample.get('central_square'):
        image = central_square(image, sample.central_square, Image.Resampling.BICUBIC)
    return np.asarray(image)


def picture_of(
    dataset: BaseDataset, sample: SegDataSample, predictions: Mapping[str, Tensor], random_weights: bool
) -> Image.Image:
    """Draw an image, its ground truth, and predictions by their title; what is not scored shows no prediction.

    Args:
        dataset: says classes and colors, and how the image is read.
        sample: with ``truths``.
        predictions: (H, W).
    """
    truth = next(iter(sample.truths.values())).cpu().numpy().astype(np.int32)
    unscored = truth == dataset.ignore_index
    truth[unscored] = -1
    labels = {title: np.where(unscored, -1, of.cpu().numpy()) for title, of in predictions.items()}
    return side_by_side(
        image_of(dataset, sample),
        {TRUTH: truth, **labels},
        dataset.metainfo['classes'],
        dataset_palette(dataset.metainfo),
        random_weights=random_weights,
    )


class OverlayFiles(ImageFiles):
    """Draws the truth and the only prediction of every image.

    Args:
        dataset: see :func:`picture_of`.
        *where: see :class:`ImageFiles`.
    """

    def __init__(self, dataset: BaseDataset, *where: object) -> None:
        super().__init__(*where)
        self.dataset = dataset

    def drawn(self, sample: SegDataSample) -> Image.Image:
        (prediction,) = sample.predictions.values()
        return picture_of(self.dataset, sample, {'prediction': prediction}, self.random_weights)
