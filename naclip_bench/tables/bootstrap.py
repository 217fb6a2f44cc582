"""How far a number could move: bootstrap over images, from their stored confusion matrices.

A dataset's images are drawn with replacement, as many as there are, and scored; 2,000 times. The interval is the
percentile interval, whose ends leave out 2.5 % of the draws on either side (Efron and Tibshirani, An Introduction to
the Bootstrap, ch. 13). Two rows are compared on the same draws, so that what makes an image hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mmseg.registry import METRICS

from ..evaluation.confusion import Scores
from ..evaluation.leaf import Leaf
from ..evaluation.run import Result

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0

#: Draws that are scored at once: bounds the memory, changes no number.
BATCH = 100

#: What is drawn of a leaf: the summary metrics.
SUMMARY = ('mIoU', 'aAcc', 'mAcc', 'fwIoU')

Interval = tuple[float, float]


class Images:
    """A finished leaf's images, each as what a metric needs of it.

    Args:
        leaf: says which metric scores them.
        result: of the leaf.

    Attributes:
        names: of the images, in order.
        areas: (P, C, 3) float64 pixels; see :func:`class_areas`.
    """

    def __init__(self, leaf: Leaf, result: Result) -> None:
        self.names = sorted(result.cells)
        self._metric = METRICS.build(leaf.config.test_evaluator)
        cells = [result.cells[name] for name in self.names]
        self.areas = image_areas(self._metric.counted(cells, result.classes), result.classes)

    def __len__(self) -> int:
        return len(self.names)

    def each(self) -> Scores:
        """Scores of every image alone."""
        return self._metric.area_scores(self.areas)

    def drawn(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics in percent, each (R,), of draws.

        Args:
            counts: (R, P) float64, how often each image is drawn. The sums are whole numbers under 2**53, so exact.
        """
        sums = counts @ self.areas.reshape(len(self), -1)
        scores = self._metric.area_scores(sums.reshape(len(counts), *self.areas.shape[1:]))
        return {name: 100 * getattr(scores, name) for name in SUMMARY}


def image_areas(images: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """(P, C, 3) float64 from each image's cells; see :func:`to_cells` and :func:`class_areas`."""
    count = len(images)
    truth, predicted, pixels = np.concatenate(images).T if count else np.zeros((3, 0), np.int64)
    place = np.repeat(np.arange(count), [len(cells) for cells in images]) * classes
    sums = [
        np.bincount(place + of, weights=weights, minlength=count * classes).reshape(count, classes)
        for of, weights in ((truth, pixels * (truth == predicted)), (truth, pixels), (predicted, pixels))
    ]
    return np.stack(sums, axis=-1)


def draws(images: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Seeded draws of ``images`` out of as many, as counts (R, P); every leaf of so many images gets the same."""
    random = np.random.default_rng(SEED)
    for begin in range(0, resamples, BATCH):
        rows = min(BATCH, resamples - begin)
        drawn = random.integers(0, images, (rows, images))
        drawn += images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def interval(values: np.ndarray) -> Interval | None:
    """The percentile interval of draws; those in which a metric does not exist are left out. None: all of them."""
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def intervals(leaf: Leaf, result: Result) -> dict[str, Interval | None]:
    """Of each summary metric, in percent; empty where there are fewer than two images."""
    images = Images(leaf, result)
    if len(images) < 2:
        return {}
    batches = [images.drawn(counts) for counts in draws(len(images))]
    return {name: interval(np.concatenate([batch[name] for batch in batches])) for name in SUMMARY}


@dataclass(frozen=True)
class Paired:
    """Two leaves on the same draws of the same images, in points of mIoU.

    Attributes:
        difference: the first's less the second's, on all images.
        interval: of the difference.
        p: two-sided: twice the smaller of two shares, of the draws in which the difference is at most 0 and of those in
            which it is at least 0, one added to each count and to the number of draws. Under 0.05 where the interval
            leaves out 0, up to rounding; 2 / 2,001 is the smallest it can be.
    """

    difference: float
    interval: Interval | None
    p: float


def paired(first: Images, second: Images) -> Paired:
    """The paired bootstrap test of two leaves' mIoU over the same images, two or more."""
    assert first.names == second.names

    def difference(counts: np.ndarray) -> np.ndarray:
        return first.drawn(counts)['mIoU'] - second.drawn(counts)['mIoU']

    values = np.concatenate([difference(counts) for counts in draws(len(first))])
    values = values[~np.isnan(values)]
    rarer = min((values <= 0).sum(), (values >= 0).sum())
    p = min(1, 2 * (rarer + 1) / (len(values) + 1))
    return Paired(float(difference(np.ones((1, len(first))))[0]), interval(values), float(p))
