"""The metric of mmseg's test loop: one confusion matrix a picture, kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from ..errors import BenchError
from ..timing import STOPWATCH
from .confusion import Scores, confusion_matrix, from_cells, to_cells
from .journal import Journal


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """mIoU, aAcc, mAcc and fwIoU from exact per-picture confusion matrices.

    Equal to mmseg's ``IoUMetric`` on the same pictures, which adds up areas in float32 and rounds to two decimals.

    Args:
        ignore_index: label of pixels that are not scored.

    Attributes:
        names: name of each picture of the data set, by its index; the index itself where empty.
        journal: where finished pictures are written; None keeps them in memory only.
        pictures: cells of each finished picture's confusion matrix, by name; see :func:`to_cells`.
    """

    default_prefix = ''

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.names: Sequence[str] = ()
        self.journal: Journal | None = None
        self.pictures: dict[str, np.ndarray] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.dataset_meta['classes'])

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        device = data_samples[0]['pred_sem_seg']['data'].device
        with STOPWATCH.stage('metric', device):
            counted = {
                self._name(sample['sample_idx']): to_cells(
                    confusion_matrix(
                        sample['pred_sem_seg']['data'].squeeze(0),
                        sample['gt_sem_seg']['data'].squeeze(0),
                        len(self.classes),
                        self.ignore_index,
                    )
                )
                for sample in data_samples
            }
        # A batch that was finished in part is computed whole; what the journal has is not written again.
        finished = {name: cells for name, cells in counted.items() if name not in self.pictures}
        if self.journal is not None:
            self.journal.append(finished)
        self.pictures.update(finished)

    def _name(self, index: int) -> str:
        return self.names[index] if self.names else str(index)

    def total(self) -> np.ndarray:
        """Sum (C, C) int64 over the pictures that this process knows."""
        return from_cells(self.pictures.values(), len(self.classes))

    def evaluate(self, size: int) -> dict[str, float]:
        """Join all processes' pictures and score them; every process gets the same.

        Args:
            size: number of pictures in the data set.

        Raises:
            BenchError: a picture is missing.
        """
        for part in all_gather_object(self.pictures):
            self.pictures.update(part)
        if len(self.pictures) != size:
            raise BenchError(f'{len(self.pictures)} pictures were scored, but the data set has {size}')
        return Scores.of(self.total()).percent()

    def compute_metrics(self, results: list) -> dict:
        raise NotImplementedError('evaluate() scores the confusion matrices')
