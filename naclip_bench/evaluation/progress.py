"""A live line with what is done, how fast, and the mIoU so far."""

from __future__ import annotations

import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..timing import STOPWATCH
from .confusion import from_cells
from .metric import ConfusionMetric

#: Seconds between two lines where the output is a file and no terminal.
LOG_EVERY = 30.0


class ProgressHook(Hook):
    """Shows images done, images/s, time left and the running mIoU; on a terminal as a bar, in a log as lines.

    It also times how long the loop waits for images (the stage "read"). The speed is that of this run alone: resumed
    images count as done, not as fast. With several processes it shows the first one's share.

    Args:
        what: name of the bar; None: the dataset's type.
    """

    #: Behind all other hooks: what they do is not waiting for images.
    priority = 'LOWEST'

    def __init__(self, what: str | None = None) -> None:
        self._what = what
        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        self._metric = next(m for m in runner.test_evaluator.metrics if isinstance(m, ConfusionMetric))
        dataset, batches = runner.test_loop.dataloader.dataset, runner.test_loop.dataloader.batch_sampler
        self._count = len(dataset)
        self._seen = set(self._metric.images)
        self._before = self._done = len(self._seen)
        self._confusion = self._metric.total()
        self._share = sum(len(batch) for batch in batches) if batches.processes > 1 else self._count - self._before
        self._begin = self._waiting_since = time.perf_counter()
        self._last_line = self._begin
        if is_main_process():
            self._bar = Progress(
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn('{task.fields[speed]:.2f} images/s'),
                TimeRemainingColumn(),
                TextColumn('mIoU {task.fields[miou]:.2f}'),
                console=self._console,
                disable=not self._console.is_terminal,
            )
            self._task = self._bar.add_task(
                self._what or type(dataset).__name__,
                total=self._before + self._share,
                completed=self._before,
                speed=0.0,
                miou=100 * self._metric.scores(self._confusion).mIoU,
            )
            self._bar.start()

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        STOPWATCH.add('read', time.perf_counter() - self._waiting_since)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        # Those of a batch that an earlier run had finished already are counted.
        new = self._metric.images.keys() - self._seen
        self._confusion += from_cells((self._metric.images[name] for name in new), len(self._confusion))
        self._seen |= new
        self._done = len(self._seen)
        now = self._waiting_since = time.perf_counter()
        if self._bar is None:
            return
        speed = (self._done - self._before) / (now - self._begin)
        miou = 100 * self._metric.scores(self._confusion).mIoU
        self._bar.update(self._task, completed=self._done, speed=speed, miou=miou)
        if self._bar.disable and (now - self._last_line >= LOG_EVERY or self._done == self._before + self._share):
            self._last_line = now
            self._console.print(
                f'{self._done}/{self._before + self._share} images, {speed:.2f}/s, mIoU {miou:.2f}', highlight=False
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        if self._bar is not None:
            self._bar.stop()
