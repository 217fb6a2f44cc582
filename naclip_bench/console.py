"""Text and tables on the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


def screen() -> Console:
    """Open standard output: a terminal's lines break between words, those of a file or pipe not at all."""
    console = Console(highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say what is going on before the first image, where somebody looks at a terminal."""
    console = Console(stderr=True)
    # Of several processes the first one speaks.
    if os.environ.get('RANK', '0') == '0' and console.is_terminal:
        with console.status(what):
            yield
    else:
        yield


def print_whole(console: Console, table: Table) -> None:
    """Print a table at its full width: cut at the edge of a terminal, or of 80 columns of a file, it loses numbers."""
    width = console.width
    console.width = max(width, Console(width=1000).measure(table).maximum)
    console.print(table)
    console.width = width


def amount(size: float) -> str:
    """Tell bytes as people say them: ``'1.3 GB'``."""
    units = ['bytes', 'kB', 'MB', 'GB']
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f'{size:.0f} {units[0]}' if size >= 100 or units[0] == 'bytes' else f'{size:.1f} {units[0]}'


def duration(seconds: float) -> str:
    """Tell a time in the unit that fits: ``'40 s'``, ``'12 min'``, ``'3.5 h'``."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 6000 else f'{seconds / 3600:.1f} h'
