"""Work on many files over all cores, with a live line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .errors import BenchError

#: Seconds between two lines where the output is a file and no terminal.
LOG_EVERY = 30.0

#: Jobs that a process takes at once.
CHUNK = 8

#: Fewer jobs a process than this are done before it would have started: a copy of this one, or a new one.
FEWEST = {'fork': 8, 'spawn': 32}

Job = TypeVar('Job')
Result = TypeVar('Result')


def cores() -> int:
    """How many this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def over_cores(work: Callable[[Job], Result], jobs: Sequence[Job], what: str, fork: bool = True) -> Iterator[Result]:
    """Results of ``work`` in the order of ``jobs``; memory does not grow with their number.

    Shows how far it is: a bar on a terminal, lines in a log.

    Args:
        work: a function of a module or a partial of one, since other processes call it.
        what: the jobs, as messages call them.
        fork: processes are copies of this one (on Linux), which start at once and ask nothing of the caller's script;
            else new ones, where this one has threads, such as torch's, whose locks a copy would share.

    Raises:
        BenchError: that of the first job that failed; or a process was killed.
    """
    start = 'fork' if fork and sys.platform == 'linux' else 'spawn'
    processes = min(cores(), len(jobs) // FEWEST[start])
    if processes < 2:
        yield from _shown(map(work, jobs), len(jobs), what)
        return
    context = multiprocessing.get_context(start)
    try:
        with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
            # The processes are made here, before the bar has its thread.
            yield from _shown(pool.map(work, jobs, chunksize=CHUNK), len(jobs), what)
    except BrokenProcessPool:
        raise BenchError(f'{what}: a process was killed, most likely for want of memory') from None


def _shown(results: Iterable[Result], count: int, what: str) -> Iterator[Result]:
    console = Console(stderr=True)
    columns = TextColumn('{task.description}', markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        last_line = time.monotonic()
        for done, result in enumerate(bar.track(results, count, description=what), 1):
            if bar.disable and time.monotonic() - last_line >= LOG_EVERY:
                last_line = time.monotonic()
                console.print(f'{what}: {done} of {count}', highlight=False)
            yield result
