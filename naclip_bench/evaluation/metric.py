"""The metric of mmseg's test loop: one confusion matrix an image, kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import Tensor

from ..errors import BenchError
from ..timing import STOPWATCH
from .confusion import Scores, class_areas, confusion_matrix, from_cells, to_cells
from .journal import Journal


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """mIoU, aAcc, mAcc and fwIoU from exact per-image confusion matrices.

    Equal to mmseg's ``IoUMetric`` on the same images, which adds up areas in float32 and rounds to two decimals.

    Args:
        ignore_index: label of pixels that are not scored.

    Attributes:
        leaf: whose predictions are scored, of a model with several members, and against which dataset's ground truth;
            None: the one prediction there is.
        class_names: the classes; those of the dataset where None.
        names: name of each image of the dataset, by its index; the index itself where empty.
        journal: where finished images are written; None keeps them in memory only.
        images: cells of each finished image's confusion matrix, by name; see :func:`to_cells`.
    """

    default_prefix = ''

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.leaf: tuple[str, str] | None = None
        self.class_names: tuple[str, ...] | None = None
        self.names: Sequence[str] = ()
        self.journal: Journal | None = None
        self.images: dict[str, np.ndarray] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.class_names or tuple(self.dataset_meta['classes'])

    def labels(self, sample: dict) -> tuple[Tensor, Tensor] | None:
        """Prediction and truth (H, W) of an image; None where this leaf's was finished before."""
        if self.leaf is None:
            return sample['pred_sem_seg']['data'].squeeze(0), sample['gt_sem_seg']['data'].squeeze(0)
        member, dataset = self.leaf
        return (sample['predictions'][member], sample['truths'][dataset]) if member in sample['predictions'] else None

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        labels = {self._name(sample['sample_idx']): self.labels(sample) for sample in data_samples}
        labels = {name: pair for name, pair in labels.items() if pair is not None}
        if not labels:
            return
        with STOPWATCH.stage('metric', next(iter(labels.values()))[0].device):
            counted = {
                name: to_cells(confusion_matrix(*pair, len(self.classes), self.ignore_index))
                for name, pair in labels.items()
            }
        # A batch that was finished in part is computed whole; what the journal has is not written again.
        finished = {name: cells for name, cells in counted.items() if name not in self.images}
        if self.journal is not None:
            self.journal.append(finished)
        self.images.update(finished)

    def _name(self, index: int) -> str:
        return self.names[index] if self.names else str(index)

    def total(self) -> np.ndarray:
        """Sum (C, C) int64 over the images that this process knows."""
        return from_cells(self.images.values(), len(self.classes))

    def scores(self, confusion: np.ndarray) -> Scores:
        """What the numbers of a (C, C) matrix are."""
        return self.area_scores(class_areas(confusion))

    def area_scores(self, areas: np.ndarray) -> Scores:
        """What the numbers of class areas (..., C, 3) are; see :func:`class_areas`."""
        return Scores.of_areas(areas)

    def evaluate(self, size: int) -> dict[str, float]:
        """Join all processes' images and score them; every process gets the same.

        Args:
            size: number of images in the dataset.

        Raises:
            BenchError: an image is missing.
        """
        for part in all_gather_object(self.images):
            self.images.update(part)
        if len(self.images) != size:
            raise BenchError(f'{len(self.images)} images were scored, but the dataset has {size}')
        return self.scores(self.total()).percent()

    def compute_metrics(self, results: list) -> dict:
        raise NotImplementedError('evaluate() scores the confusion matrices')
