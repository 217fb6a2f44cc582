"""How long each step on the way of an image took.

The steps are read, trunk, helper, method, text, stitch+decide, refine and metric. They stand in one process-wide
stopwatch, because they are spread over the data loader, the segmentor and the metric, which mmengine builds apart.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

STAGES = ('read', 'text', 'trunk', 'helper', 'method', 'stitch+decide', 'refine', 'metric')


class Stopwatch:
    """Seconds a stage; on a GPU they are the device's own, read from events without waiting for it.

    Attributes:
        meter: tells the operations that were done so far, while they are counted; None: they are not.
        operations: a stage, since :meth:`reset`.
    """

    meter: Callable[[], int] | None = None

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self.operations: dict[str, int] = defaultdict(int)

    def add(self, stage: str, seconds: float) -> None:
        self._seconds[stage] += seconds

    @contextmanager
    def stage(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Time a block of work as ``name``; work on a CUDA ``device`` is bracketed with events."""
        before = self.meter() if self.meter else 0
        with self._timed(name, device):
            yield
        if self.meter:
            self.operations[name] += self.meter() - before

    @contextmanager
    def _timed(self, name: str, device: torch.device | None) -> Iterator[None]:
        if device is not None and device.type == 'cuda':
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            try:
                yield
            finally:
                end.record()
                self._events.append((name, start, end))
                self._collect(only_finished=True)
        else:
            begin = time.perf_counter()
            try:
                yield
            finally:
                self.add(name, time.perf_counter() - begin)

    def _collect(self, only_finished: bool) -> None:
        while self._events and (not only_finished or self._events[0][2].query()):
            name, start, end = self._events.pop(0)
            end.synchronize()
            self.add(name, start.elapsed_time(end) / 1000)

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage that ran, in the order of the data flow; waits for the device."""
        self._collect(only_finished=False)
        return {stage: self._seconds[stage] for stage in STAGES if stage in self._seconds}


def product_rate(rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device) -> float:
    """Measure a matrix product (rows, inner) x (inner, columns), in FLOP/s: the median of three."""
    left, right = (torch.randn(side, inner, device=device, dtype=dtype) for side in (rows, columns))
    torch.nn.functional.linear(left, right)
    seconds = seconds_of(lambda: torch.nn.functional.linear(left, right), device, 3)
    return 2 * rows * inner * columns / seconds


def seconds_of(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Median seconds of ``work``, the device waited for."""
    taken = []
    for _ in range(times):
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


#: The process's stopwatch.
STOPWATCH = Stopwatch()
