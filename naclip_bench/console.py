"""Tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_whole(screen: Console, table: Table) -> None:
    """Print a table at its full width: cut at the edge of a terminal, or of 80 columns of a file, it loses numbers."""
    screen.width = max(screen.width, Console(width=1000).measure(table).maximum)
    screen.print(table)
