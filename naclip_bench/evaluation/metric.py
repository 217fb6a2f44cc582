"""The metrics of mmseg's test loop: one confusion matrix an image, kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import Tensor

from ..errors import BenchError
from ..timing import STOPWATCH
from .confusion import Scores, batch_cells, class_areas, from_cells, mean_over
from .journal import Finished, Journal


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """mIoU, aAcc, mAcc and fwIoU from exact per-image confusion matrices.

    Equal to mmseg's ``IoUMetric`` on the same images, which adds up areas in float32 and rounds to two decimals.

    Args:
        ignore_index: label of pixels that are not scored.

    Attributes:
        images: cells of each finished image's confusion matrix, by its index; see :func:`to_cells`.
    """

    default_prefix = ''

    #: What is counted. Metrics of one kind make other numbers of the same matrices.
    counting = 'pixels'

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.images: dict[int, np.ndarray] = {}

    def pair(self, prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Take from a prediction and a truth (H, W) what is counted: labels and true labels of one shape."""
        return prediction, truth

    def cells(self, pairs: Sequence[tuple[Tensor, Tensor]], classes: int) -> list[np.ndarray]:
        """Count images, given as prediction and truth (H, W); see :func:`batch_cells`."""
        device = pairs[0][0].device if pairs else None
        with STOPWATCH.stage('metric', device):
            return batch_cells((self.pair(*pair) for pair in pairs), classes, self.ignore_index)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        classes = len(self.dataset_meta['classes'])
        pairs = [
            tuple(sample[of]['data'].squeeze(0) for of in ('pred_sem_seg', 'gt_sem_seg')) for sample in data_samples
        ]
        indices = (sample['sample_idx'] for sample in data_samples)
        self.images.update(zip(indices, self.cells(pairs, classes), strict=True))

    def scores(self, confusion: np.ndarray) -> Scores:
        """Score a (C, C) matrix."""
        return self.area_scores(class_areas(confusion))

    def counted(self, images: Sequence[np.ndarray], classes: int) -> list[np.ndarray]:
        """Take from images' cells what :meth:`area_scores` is of: those of the classes, unless a metric says more."""
        return [cells[cells[:, 0] < classes] for cells in images]

    def beside(self, images: Sequence[np.ndarray], classes: int) -> dict[str, np.ndarray]:
        """Score images' cells in other ways: by name, a share (C,) for each class, NaN where there is none."""
        return {}

    def percent(self, images: Sequence[np.ndarray], classes: int) -> dict[str, float]:
        """Every summary metric of images' cells x 100, not rounded; of what is beside, the mean over classes."""
        found = self.scores(from_cells(images, classes)).percent()
        for name, values in self.beside(images, classes).items():
            found[f'm{name}'] = 100 * float(mean_over(values, ~np.isnan(values)))
        return found

    def area_scores(self, areas: np.ndarray) -> Scores:
        """Score class areas (..., C, 3); see :func:`class_areas`."""
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
        return self.percent([*self.images.values()], len(self.dataset_meta['classes']))

    def compute_metrics(self, results: list) -> dict:
        raise NotImplementedError('evaluate() scores the confusion matrices')


class LeafCounter(BaseMetric):
    """Counts one leaf of a run into a journal; what is made of the matrices is decided when they are read.

    Args:
        metric: the leaf's own.
        member: whose predictions are counted.
        dataset: against whose truths.
        classes: how many.
        names: of the images, by their index.
        digests: of the images, by name.
        journal: where finished images are written; None keeps them in memory only.

    Attributes:
        counted: what this process finished, by name.
    """

    default_prefix = ''

    def __init__(
        self,
        metric: ConfusionMetric,
        member: str,
        dataset: str,
        classes: int,
        names: Sequence[str],
        digests: Mapping[str, str],
        journal: Journal | None = None,
    ) -> None:
        super().__init__()
        self.metric, self.member, self.dataset, self.classes = metric, member, dataset, classes
        self.names, self.digests, self.journal = names, digests, journal
        self.counted: dict[str, Finished] = {}

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        # A leaf that has finished the whole batch before is left out of it.
        samples = [sample for sample in data_samples if self.member in sample['predictions']]
        pairs = [(sample['predictions'][self.member], sample['truths'][self.dataset]) for sample in samples]
        names = [self.names[sample['sample_idx']] for sample in samples]
        cells = self.metric.cells(pairs, self.classes)
        batch = {name: Finished(self.digests[name], of) for name, of in zip(names, cells, strict=True)}
        if self.journal is not None:
            self.journal.append(batch)
        self.counted |= batch

    def evaluate(self, size: int) -> dict[str, float]:
        return {}

    def compute_metrics(self, results: list) -> dict:
        raise NotImplementedError('a leaf is scored when it is read')
