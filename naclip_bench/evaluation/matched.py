"""The metric of unsupervised segmentation, whose predicted classes are clusters without a name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmseg.registry import METRICS

from ..optional import needed
from .confusion import Scores, from_cells
from .metric import ConfusionMetric


@METRICS.register_module()
class MatchedMetric(ConfusionMetric):
    """Scores after each predicted class has become the class that it is matched with, one to one.

    The matching is that of the most pixels over all images (Hungarian method), as PiCIE and STEGO evaluate; else as
    :class:`ConfusionMetric`.
    """

    def scores(self, confusion: np.ndarray) -> Scores:
        return super().scores(confusion[:, np.argsort(matching(confusion))])

    def counted(self, images: Sequence[np.ndarray], classes: int) -> list[np.ndarray]:
        matched = matching(from_cells(images, classes))
        return [np.stack([cells[:, 0], matched[cells[:, 1]], cells[:, 2]], axis=1) for cells in images]


def matching(confusion: np.ndarray) -> np.ndarray:
    """The true class (C,) that each predicted class of a (C, C) matrix is matched with."""
    assign = needed('scipy.optimize', 'cluster', 'the matching of clusters').linear_sum_assignment
    return assign(confusion.T, maximize=True)[1]
