"""Boundary IoU: Improving Object-Centric Image Segmentation Evaluation (Cheng et al.; CVPR 2021, arXiv 2103.16562), for
semantic segmentation, beside the other metrics.

Of each class only the pixels count that lie within a distance of the contour of its mask, in truth and in prediction
each,

    |(G_d & G) & (P_d & P)| / |(G_d & G) | (P_d & P)|,

areas summed over all images (as LPOSS's authors do, whose code takes what is not scored out of the prediction before).
A pixel has one class in the truth and one in the prediction, so that a matrix (C + 1, C + 1) of the classes of whose
boundaries it is part, C for none, holds all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmseg.registry import METRICS
from torch import Tensor

from ..settings import PositiveFloat, checked
from ..timing import STOPWATCH
from .confusion import Scores, batch_cells, class_areas, from_cells
from .metric import ConfusionMetric


@METRICS.register_module()
class BoundaryMetric(ConfusionMetric):
    """The scores of :class:`ConfusionMetric`, and Boundary IoU.

    Cells of an image are those of both matrices: the classes of the boundaries' are counted on from C.

    Args:
        ratio: distance from the contour up to which a pixel counts, of the image's diagonal.
        ignore_index: label of pixels that are not scored.
    """

    @checked
    def __init__(self, ratio: PositiveFloat = 0.02, ignore_index: int = 255) -> None:
        super().__init__(ignore_index)
        self.ratio = ratio

    @property
    def counting(self) -> str:
        return f'pixels, and boundaries of {self.ratio} of the diagonal'

    def cells(self, pairs: Sequence[tuple[Tensor, Tensor]], classes: int) -> list[np.ndarray]:
        pixels = super().cells(pairs, classes)
        with STOPWATCH.stage('metric', pairs[0][0].device if pairs else None):
            boundaries = batch_cells(
                (boundary_pair(*pair, classes, self.ratio, self.ignore_index) for pair in pairs),
                classes + 1,
                ignore_index=-1,
            )
        shift = [classes, classes, 0]
        return [np.concatenate([whole, edge + shift]) for whole, edge in zip(pixels, boundaries, strict=True)]

    def beside(self, images: Sequence[np.ndarray], classes: int) -> dict[str, np.ndarray]:
        shifted = [cells[cells[:, 0] >= classes] - [classes, classes, 0] for cells in images]
        return {'BIoU': Scores.of_areas(class_areas(from_cells(shifted, classes + 1))[:classes]).iou}


def boundary_pair(
    prediction: Tensor, truth: Tensor, classes: int, ratio: float, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Labels of whose boundary each pixel is part, in the prediction and in the truth: (H, W) each, C for none.

    Args:
        prediction, truth: (H, W) labels, see :func:`confusion_matrix`.
        ratio: see :class:`BoundaryMetric`.
    """
    truth = truth.to(prediction.device).long()
    scored = truth != ignore_index
    distance = max(1, round(ratio * math.hypot(*truth.shape)))
    pair = []
    for labels in (prediction.long(), truth):
        labels = torch.where(scored, labels, classes)
        pair.append(torch.where(near_others(labels, distance), labels, classes))
    return tuple(pair)


def near_others(labels: Tensor, distance: int) -> Tensor:
    """Where (H, W) another label, or the image's edge, is at most ``distance`` rows and columns away.

    As eroding each class's mask that many times by 3 x 3 pixels leaves the others, zeros being around the image.
    """
    padded = torch.nn.functional.pad(labels, (distance,) * 4, value=-1)
    return _over_squares(torch.maximum, padded, distance) != _over_squares(torch.minimum, padded, distance)


def _over_squares(join: object, values: Tensor, distance: int) -> Tensor:
    """Join what lies within ``distance`` along both sides; the result is smaller by that at each end."""
    for axis in (0, 1):
        done = 1
        while done < 2 * distance + 1:
            # What is joined doubles with each step.
            step = min(done, 2 * distance + 1 - done)
            rest = values.shape[axis] - step
            values = join(values.narrow(axis, 0, rest), values.narrow(axis, step, rest))
            done += step
    return values
