"""How far a long run over bytes is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..console import amount
from ..parallel import LOG_EVERY


@contextmanager
def byte_progress(what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """What to call with each number of bytes that are done; a bar on a terminal, lines in a log.

    Args:
        what: the bar's name.
        total: bytes in all, None where nobody knows.
        done: bytes of an earlier run.
    """
    console = Console(stderr=True)
    columns = TextColumn('{task.description}', markup=False), BarColumn(), DownloadColumn()
    bar = Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    task = bar.add_task(what, total=total, completed=done)
    last_line = time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last_line
        done += count
        bar.update(task, completed=done)
        if bar.disable and time.monotonic() - last_line >= LOG_EVERY:
            last_line = time.monotonic()
            console.print(f'{what}: {amount(done)}' + (f' of {amount(total)}' if total else ''), highlight=False)

    with bar:
        yield advance
