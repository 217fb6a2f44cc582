"""Two rows on the same images: a paired test of their mIoU, and the images where they differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.check import is_drawn
from ..errors import BenchError, did_you_mean
from ..evaluation.leaf import Leaf
from ..evaluation.run import Result
from .bootstrap import RESAMPLES, Images, Paired, paired
from .plan import Plan
from .spec import Row

#: Images that are shown of a comparison.
SHOWN = 8

#: With fewer images the draws are too much alike for an interval or p to mean what they say.
FEW = 30


@dataclass(frozen=True)
class Differing:
    """An image on which two rows differ.

    Attributes:
        name: see :func:`image_names`.
        path: of the image, or the seed that it is drawn from.
        first, second: the rows' mIoU on this image alone, in percent.
        class_name, share: the class of the truth whose found pixels differ most, and by what part of the image's
            scored pixels, in percent: above 0 where the first row finds more of it.
    """

    name: str
    path: str
    first: float
    second: float
    class_name: str
    share: float

    @property
    def difference(self) -> float:
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two rows of the tables on one dataset.

    Attributes:
        rows: what the rows are called.
        leaves: what they stand for.
        count: number of images.
        test: of the first row's mIoU against the second's.
        images: those where they differ most, in descending order.
    """

    dataset: str
    rows: tuple[str, str]
    leaves: tuple[Leaf, Leaf]
    count: int
    test: Paired
    images: list[Differing]

    @property
    def verdict(self) -> str:
        """The test in a line."""
        low_high = '{:+.2f} to {:+.2f}'.format(*self.test.interval) if self.test.interval else 'none'
        return (
            f'{self.test.difference:+.2f} mIoU, 95 % interval {low_high}, p = {self.test.p:.3f} '
            f'(paired bootstrap, {RESAMPLES:,} draws of {self.count:,} images'
            f'{": too few to rely on" if self.count < FEW else ""})'
        )


@dataclass(frozen=True)
class Compared:
    """A row that is compared: what it is called, and what it runs by dataset."""

    label: str
    leaves: dict[str, Leaf]


def find_rows(plan: Plan, rows: Sequence[str]) -> tuple[Compared, Compared]:
    """The two rows that are called so.

    Args:
        rows: a row's name, its name and settings, or either behind its table's name.

    Raises:
        BenchError: a row is not in the plan, is not run, or could be several; or the two have nothing to compare.
    """
    first, second = (find_row(plan, row) for row in rows)
    if not any(second.leaves.get(dataset, leaf) is not leaf for dataset, leaf in first.leaves.items()):
        raise BenchError(f'{rows[0]} and {rows[1]} are not two runs on a dataset that both have')
    return first, second


def find_row(plan: Plan, wanted: str) -> Compared:
    """The row that is called so.

    Args:
        wanted: see :func:`find_rows`.

    Raises:
        BenchError: no row that is run is called so, or several are, or the row is a mean over runs.
    """
    known: dict[tuple[str, Row], dict[str, Leaf]] = {}
    for cell in plan.cells:
        if cell.leaves and cell.metric == 'mIoU':
            known.setdefault((cell.table, cell.row), {})[cell.column] = cell.leaves[0]
    found = {}
    for (key, row), leaves in known.items():
        table = plan.tables[key]
        if table.calls(row, wanted):
            if row.trials:
                raise BenchError(
                    f'"{wanted}" is the mean of {len(row.trials)} runs; add one of them as a row of its own'
                )
            found[key, table.label(row)] = Compared(table.label(row), leaves)
    if not found:
        names = {row.name for _, row in known}
        raise BenchError(f'no row that is run is called "{wanted}"{did_you_mean(wanted, names)}')
    first, *others = found.values()
    if any(other.leaves != first.leaves for other in others):
        could_be = ' or '.join(f'"{table} {label}"' for table, label in found)
        raise BenchError(f'"{wanted}" could be {could_be}')
    return first


def compare(first: Compared, second: Compared, results: Mapping[Leaf, Result]) -> list[Comparison]:
    """One comparison a dataset that both rows have.

    Raises:
        BenchError: the rows were scored on other images, or on a single one.
    """
    return [
        _compare((first.label, second.label), dataset, (leaf, second.leaves[dataset]), results)
        for dataset, leaf in first.leaves.items()
        if second.leaves.get(dataset, leaf) is not leaf and {leaf, second.leaves[dataset]} <= results.keys()
    ]


def _compare(
    rows: tuple[str, str], dataset: str, leaves: tuple[Leaf, Leaf], results: Mapping[Leaf, Result]
) -> Comparison:
    first, second = (Images(leaf, results[leaf]) for leaf in leaves)
    if first.names != second.names or len(first) < 2:
        raise BenchError(f'{dataset}: a comparison needs two images or more, the same for both rows')
    scores = [100 * images.each().mIoU for images in (first, second)]
    differences = np.nan_to_num(np.abs(scores[0] - scores[1]))
    classes = [entry['class'] for entry in results[leaves[0]].record['per_class']]
    shown = []
    for index in np.argsort(-differences, kind='stable')[:SHOWN]:
        if not differences[index]:
            break
        # Shares: one row may be scored at another size than the other.
        found = [images.areas[index, :, 0] / images.areas[index, :, 1].sum() for images in (first, second)]
        most = int(np.argmax(np.abs(found[0] - found[1])))
        name = first.names[index]
        shown.append(
            Differing(
                name,
                _path_of(name, leaves[0]),
                *(float(score[index]) for score in scores),
                classes[most],
                100 * float(found[0][most] - found[1][most]),
            )
        )
    return Comparison(dataset, rows, leaves, len(first), paired(first, second), shown)


def _path_of(name: str, leaf: Leaf) -> str:
    dataset = leaf.config.test_dataloader.dataset
    if is_drawn(dataset):
        return name
    return str(Path(dataset.data_root, dataset.data_prefix.img_path, f'{name}{dataset.get("img_suffix", ".jpg")}'))
