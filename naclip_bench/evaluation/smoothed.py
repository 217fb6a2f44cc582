"""The metric of CLIPtrase's authors."""

from __future__ import annotations

import numpy as np
from mmseg.registry import METRICS

from .confusion import Scores
from .metric import ConfusionMetric

#: Pixels added to every denominator.
SMOOTHING = 0.01


@METRICS.register_module()
class SmoothedMetric(ConfusionMetric):
    """Scores with 0.01 of a pixel in the denominators, so that an absent class has 0 and not NaN.

    mIoU is the mean over the classes that the truth has, mAcc over all classes.
    """

    def scores(self, confusion: np.ndarray) -> Scores:
        hits = np.diagonal(confusion).astype(np.float64)
        truth, predicted = confusion.sum(1), confusion.sum(0)
        iou = hits / (truth + predicted - hits + SMOOTHING)
        accuracy = hits / (truth + SMOOTHING)
        total = truth.sum()
        if not total:
            return super().scores(confusion)
        return Scores(
            iou=iou,
            accuracy=accuracy,
            aAcc=float(hits.sum() / total),
            mIoU=float(iou[truth > 0].mean()),
            mAcc=float(accuracy.mean()),
            fwIoU=float((iou * truth).sum() / total),
        )
