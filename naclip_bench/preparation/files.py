"""Files that are whole or not there, and how far a long run over them is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

#: Seconds between two lines where the output is a file and no terminal.
LOG_EVERY = 30.0


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A path to write to; what lies there in the end takes the name ``target`` at once, so that no half is ever seen.

    Only one process may write to ``target``: what an interrupted one left is written over by the next.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'{target.name}.tmp')
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """``source`` under another name, sharing its bytes on the disk where the file system can."""
    with written_beside(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)


def is_there(target: Path, size: int) -> bool:
    """True for a file of ``size`` bytes: files come by renaming, so one of the right size is whole."""
    return target.is_file() and target.stat().st_size == size


def amount(size: float) -> str:
    """Bytes as people say them: ``'1.3 GB'``."""
    units = ['bytes', 'kB', 'MB', 'GB']
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f'{size:.0f} {units[0]}' if size >= 100 or units[0] == 'bytes' else f'{size:.1f} {units[0]}'


@contextmanager
def byte_progress(what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """What to call with each number of bytes that are done; a bar on a terminal, lines in a log.

    Args:
        what: the bar's name.
        total: bytes in all, None where nobody knows.
        done: bytes of an earlier run.
    """
    console = Console(stderr=True)
    columns = TextColumn('{task.description}'), BarColumn(), DownloadColumn()
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
