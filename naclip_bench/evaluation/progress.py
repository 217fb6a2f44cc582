"""A live line with what is done, how fast, and one leaf's mIoU so far."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from ..parallel import LOG_EVERY
from ..timing import STOPWATCH
from .confusion import from_cells
from .journal import Finished
from .metric import LeafCounter


def progress_bar(console: Console) -> Progress:
    """Make a bar with images done, speed, time left and a score; its tasks have the fields ``speed`` and ``score``.

    Where the console is no terminal it shows nothing.
    """
    return Progress(
        TextColumn('{task.description}', markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn('{task.fields[speed]}'),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn('{task.fields[score]}', markup=False),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )


class ProgressHook(Hook):
    """Shows images done, images/s, time left and the running mIoU of a leaf; on a terminal as a bar, in a log as lines.

    It also times how long the loop waits for images (the stage "read"). The speed is that of this run alone: images
    finished before count as done, not as fast. With several processes it shows the first one's share.

    Args:
        what: name of the bar.
        whose: the leaf whose mIoU it shows.
        counter: of that leaf.
        before: its images that were finished before; their cells count in the mIoU.
        count: how many there are.
    """

    #: Behind all other hooks: what they do is not waiting for images.
    priority = 'LOWEST'

    def __init__(self, what: str, whose: str, counter: LeafCounter, before: Mapping[str, Finished], count: int) -> None:
        self._what, self._whose, self._counter, self._before, self._count = what, whose, counter, before, count
        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        batches = list(runner.test_loop.dataloader.batch_sampler)
        self._sizes = [len(batch) for batch in batches]
        self._done, self._part = 0, 0.0
        self._confusion = from_cells((image.cells for image in self._before.values()), self._counter.classes)
        self._seen = set(self._before)
        self._begin = self._waiting_since = self._last_line = time.perf_counter()
        runner.model.tell = self._tell
        if is_main_process():
            self._bar = progress_bar(self._console)
            total = sum(self._sizes)
            self._start = max(0, self._count - total)
            self._task = self._bar.add_task(
                self._what, total=self._start + total, completed=self._start, speed='', score=''
            )
            self._bar.start()

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        STOPWATCH.add('read', time.perf_counter() - self._waiting_since)
        self._part = 0.0

    def _tell(self, share: float) -> None:
        """Advance within a batch."""
        self._part += share
        if self._bar is not None and not self._bar.disable:
            self._show(self._done + int(min(self._part, 0.99) * self._sizes[0]))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        new = self._counter.counted.keys() - self._seen
        self._confusion += from_cells((self._counter.counted[name].cells for name in new), len(self._confusion))
        self._seen |= new
        self._done += len(outputs)
        self._part = 0.0
        now = self._waiting_since = time.perf_counter()
        if self._bar is None:
            return
        self._show(self._done)
        last = batch_idx + 1 == len(self._sizes)
        if self._bar.disable and (now - self._last_line >= LOG_EVERY or last):
            self._last_line = now
            done = f'{self._start + self._done}/{self._start + sum(self._sizes)}'
            self._console.print(f'{done} images, {self._speed():.2f}/s, {self._score()}', highlight=False, markup=False)

    def _speed(self) -> float:
        return self._done / (time.perf_counter() - self._begin)

    def _score(self) -> str:
        return f'mIoU {100 * self._counter.metric.scores(self._confusion).mIoU:.2f} ({self._whose})'

    def _show(self, done: int) -> None:
        # Before the first batch is whole there is neither a speed nor a score.
        known = {'speed': f'{self._speed():.1f}/s', 'score': self._score()} if self._done else {}
        self._bar.update(self._task, completed=self._start + done, **known)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        if self._bar is not None:
            self._bar.stop()
