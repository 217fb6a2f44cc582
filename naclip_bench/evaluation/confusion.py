"""Confusion matrices, exact to the pixel, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Into how many copies of a matrix a device counts: pixels of one class lie side by side, and a GPU's units would wait
#: for each other at its cell. Matrices with many cells have fewer.
COPIES, CELLS = {'cuda': 64}, 2**23

#: Pixels of images that are counted together: as many as keep a GPU busy, or stay in a CPU's cache.
PIXELS = {'cpu': 2**18, 'cuda': 2**23}


def confusion_matrix(prediction: Tensor, truth: Tensor, classes: int, ignore_index: int = 255) -> Tensor:
    """(C, C) int64 on the device of ``prediction``: entry [t, p] counts pixels of class t predicted as p.

    Args:
        prediction: (H, W) labels 0..C-1.
        truth: (H, W) labels 0..C-1, or ``ignore_index`` where a pixel is not scored.

    Raises:
        ValueError: a label outside the classes, in a scored pixel.
    """
    counts = _counts([(prediction, truth)], classes, ignore_index)[0]
    if counts[-2]:
        raise _outside(int(counts[-2]), classes)
    return counts[:-2].view(classes, classes)


def _counts(pairs: Sequence[tuple[Tensor, Tensor]], classes: int, ignore_index: int) -> Tensor:
    """(n, C * C + 2) int64: each image's matrix, its scored pixels with a label outside it, and those not scored.

    Counted without a wait for the device: every pixel is counted somewhere, because to select some costs one, and so
    does ``bincount``, which looks for its length. And as one image: a step takes a GPU no longer for many.
    """
    for prediction, truth in pairs:
        if prediction.shape != truth.shape:
            raise ValueError(f'a prediction is {tuple(prediction.shape)}, its truth {tuple(truth.shape)}')
    prediction, truth = (torch.cat([labels.flatten() for labels in of]) for of in zip(*pairs, strict=True))
    prediction = prediction.long()
    truth, outside, ignored = truth.to(prediction), classes * classes, classes * classes + 1
    inside = (truth >= 0) & (truth < classes) & (prediction >= 0) & (prediction < classes)
    cells = torch.where(inside, truth * classes + prediction, outside)
    cells = torch.where(truth == ignore_index, ignored, cells)
    # A matrix an image, one behind the other.
    size, images = ignored + 1, len(pairs)
    for image, of_image in enumerate(cells.split([truth.numel() for _, truth in pairs])):
        if image:
            of_image += image * size
    copies = min(COPIES.get(cells.device.type, 1), max(1, CELLS // (images * size)))
    if copies > 1:
        cells += torch.arange(len(cells), device=cells.device) % copies * (images * size)
    counts = cells.new_zeros(copies * images * size).scatter_add_(0, cells, cells.new_ones(1).expand_as(cells))
    return counts.view(copies, images, size).sum(0)


def _together(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Images in their order, as many at once as :data:`PIXELS` says, and one at the least."""
    group, pixels = [], 0
    for pair in pairs:
        most = PIXELS.get(pair[0].device.type, PIXELS['cuda'])
        if group and pixels + pair[0].numel() > most:
            yield group
            group, pixels = [], 0
        group.append(pair)
        pixels += pair[0].numel()
    if group:
        yield group


def _outside(pixels: int, classes: int) -> ValueError:
    return ValueError(f'{pixels} scored pixels have a label outside the {classes} classes')


def to_cells(confusion: Tensor | np.ndarray) -> np.ndarray:
    """The non-zero entries of a matrix as rows (true class, predicted class, pixels), (n, 3) int64.

    An image has a few dozen of them where its matrix has tens of thousands of entries (717,409 with 847 classes): they
    are found on the matrix's device, and only they leave it.
    """
    return _non_zero(torch.as_tensor(confusion).flatten()[None], len(confusion))[:, 1:]


def batch_cells(pairs: Iterable[tuple[Tensor, Tensor]], classes: int, ignore_index: int = 255) -> list[np.ndarray]:
    """Count a batch of images at once: what :func:`to_cells` says of each one's :func:`confusion_matrix`.

    Args:
        pairs: prediction and truth of each image.

    Raises:
        ValueError: see :func:`confusion_matrix`.
    """
    counts = [_counts(group, classes, ignore_index) for group in _together(pairs)]
    if not counts:
        return []
    counts = torch.cat(counts)
    rows = _non_zero(counts[:, :-1], classes)
    image, truth, _, pixels = rows.T
    # The cell behind the last row of the matrix.
    outside = truth == classes
    if outside.any():
        raise _outside(int(pixels[outside][0]), classes)
    return np.split(rows[:, 1:], np.searchsorted(image, np.arange(1, len(counts))))


def _non_zero(counts: Tensor, classes: int) -> np.ndarray:
    """Rows (matrix, true class, predicted class, pixels) of matrices (n, at least C * C), in this order."""
    # Two waits for the device, however many matrices: for the number of cells, and for them.
    image, place = counts.nonzero().unbind(1)
    return torch.stack([image, place // classes, place % classes, counts[image, place]], dim=1).cpu().numpy()


def from_cells(images: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """The sum (C, C) int64 of images' matrices, given as cells; those of other classes do not count."""
    total = np.zeros((classes, classes), np.int64)
    for cells in images:
        cells = cells[cells[:, 0] < classes]
        total[cells[:, 0], cells[:, 1]] += cells[:, 2]
    return total


def class_areas(confusion: np.ndarray) -> np.ndarray:
    """(C, 3) float64 from a (C, C) matrix: pixels of each class that are hit, those of the truth, those predicted."""
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Scores:
    """What confusion matrices say, as fractions; NaN for a class that neither truth nor prediction has.

    Of one matrix iou and accuracy are (C,), the others numbers; of several all have the matrices' axes in front.
    """

    iou: np.ndarray
    accuracy: np.ndarray  #: of each class: the share of its pixels that are found
    aAcc: float  # noqa: N815 (mmseg's names)
    mIoU: float  # noqa: N815
    mAcc: float  # noqa: N815
    fwIoU: float  # noqa: N815

    @classmethod
    def of(cls, confusion: np.ndarray) -> Scores:
        """Scores of a (C, C) matrix; see :meth:`of_areas`."""
        return cls.of_areas(class_areas(confusion))

    @classmethod
    def of_areas(cls, areas: np.ndarray) -> Scores:
        """Scores of areas (..., C, 3), see :func:`class_areas`: mmseg's, plus the frequency-weighted IoU.

        mIoU is the mean over classes with a non-empty union, mAcc over classes that the truth has.
        """
        hits, truth, predicted = np.moveaxis(areas, -1, 0)
        total = truth.sum(-1)
        with np.errstate(invalid='ignore', divide='ignore'):
            iou, accuracy = hits / (truth + predicted - hits), hits / truth
            return cls(
                iou=iou,
                accuracy=accuracy,
                aAcc=hits.sum(-1) / total,
                mIoU=mean_over(iou, ~np.isnan(iou)),
                mAcc=mean_over(accuracy, truth > 0),
                fwIoU=np.nansum(iou * truth, -1) / total,
            )

    def percent(self) -> dict[str, float]:
        """The four summary metrics of one matrix x 100, not rounded."""
        return {name: 100 * float(getattr(self, name)) for name in ('mIoU', 'aAcc', 'mAcc', 'fwIoU')}


def mean_over(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mean of ``values`` (..., C) over the classes where ``classes`` (..., C) is true; NaN where none is."""
    with np.errstate(invalid='ignore'):
        return np.where(classes, values, 0).sum(-1) / classes.sum(-1)
