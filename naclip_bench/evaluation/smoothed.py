"""The metric of CLIPtrase's authors."""

from __future__ import annotations

import numpy as np
from mmseg.registry import METRICS

from .confusion import Scores, mean_over
from .metric import ConfusionMetric

#: Pixels added to every denominator.
SMOOTHING = 0.01


@METRICS.register_module()
class SmoothedMetric(ConfusionMetric):
    """Scores with 0.01 of a pixel in the denominators, so that an absent class has 0 and not NaN.

    mIoU is the mean over the classes that the truth has, mAcc over all classes.
    """

    def area_scores(self, areas: np.ndarray) -> Scores:
        hits, truth, predicted = np.moveaxis(areas, -1, 0)
        iou, accuracy = hits / (truth + predicted - hits + SMOOTHING), hits / (truth + SMOOTHING)
        total = truth.sum(-1)
        with np.errstate(invalid='ignore'):
            return Scores(
                iou=iou,
                accuracy=accuracy,
                aAcc=hits.sum(-1) / total,
                mIoU=mean_over(iou, truth > 0),
                mAcc=mean_over(accuracy, np.broadcast_to(total[..., None] > 0, truth.shape)),
                fwIoU=(iou * truth).sum(-1) / total,
            )
