"""What a pass costs with all of its leaves, beside one of them alone: the same batches in turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.evaluator import Evaluator
from rich.console import Console
from rich.table import Column, Table

from ..console import print_whole
from ..datasets.packed import packed
from ..errors import BenchError
from ..evaluation.journal import Journal
from ..evaluation.leaf import Leaf
from ..evaluation.opened import OpenPass, Pass
from ..tables.compare import Compared
from ..tables.plan import Options, Plan


@dataclass
class Shared:
    """A pass as it was measured.

    Attributes:
        beside: config of the leaf that was run alone.
        together, alone: seconds of each batch, from reading to the stored matrices.
    """

    pass_: Pass
    beside: str
    images: int = 0
    together: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median over the batches."""
        return statistics.median(one / other for one, other in zip(self.together, self.alone, strict=True))


class _Batches:
    """A pass that is computed batch by batch, into a store of its own."""

    def __init__(self, pass_: Pass, options: Options, folder: Path) -> None:
        self.of = OpenPass(pass_, options.selection)
        self.size = pass_.leaves[0].config.test_dataloader.batch_size
        self.evaluator = Evaluator([self.of.counter(key, Journal(folder / key)) for key in self.of.places])

    def warm_up(self) -> None:
        """Make text vectors, caches and kernels."""
        self.of.model.test_step(packed([self.of.data[0]]))

    def seconds(self, batch: Sequence[int]) -> float:
        begin = time.perf_counter()
        data = packed([self.of.data[index] for index in batch])
        self.evaluator.process(self.of.model.test_step(data), data)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - begin


def sharing(plan: Plan, beside: Compared, options: Options) -> list[Shared]:
    """Measure every pass of a plan beside the first of its leaves that is the row ``beside``.

    Raises:
        BenchError: a pass has no such leaf; data that are not there.
    """
    alone = [next((leaf for leaf in pass_.leaves if leaf in beside.leaves.values()), None) for pass_ in plan.passes]
    for pass_, leaf in zip(plan.passes, alone, strict=True):
        if leaf is None:
            raise BenchError(
                f'{beside.label} has not the images, sizes or weights of {pass_.leaves[0].name} '
                'and what runs with it; leave those rows and datasets out'
            )
    return [_measured(pass_, leaf, options) for pass_, leaf in zip(plan.passes, alone, strict=True)]


def _measured(pass_: Pass, leaf: Leaf, options: Options) -> Shared:
    found = Shared(pass_, leaf.name)
    with tempfile.TemporaryDirectory() as folder:
        together = _Batches(pass_, options, Path(folder, 'together'))
        alone = _Batches(Pass([leaf]), options, Path(folder, 'alone'))
        for run in (together, alone):
            run.warm_up()
        found.images = len(together.of.names)
        for first in range(0, found.images, together.size):
            batch = range(first, min(first + together.size, found.images))
            # Whichever comes first finds the machine as the other left it: they take turns.
            turns = [(found.together, together), (found.alone, alone)]
            for seconds, run in turns if first % (2 * together.size) else reversed(turns):
                seconds.append(run.seconds(batch))
    return found


def print_sharing(found: Sequence[Shared]) -> None:
    """A row a pass."""
    names = ('image pass', 'leaves', 'images', 'together, s', 'beside', 'alone, s', 'together / alone')
    table = Table(*(Column(name, justify='left' if name in ('image pass', 'beside') else 'right') for name in names))
    for of in found:
        table.add_row(
            of.pass_.title,
            str(len(of.pass_.leaves)),
            str(of.images),
            f'{sum(of.together):.1f}',
            of.beside,
            f'{sum(of.alone):.1f}',
            f'{of.ratio:.2f}x',
        )
    print_whole(Console(highlight=False), table)
