"""List methods, datasets, subsets, weights and papers' tables.

naclip-bench list            everything
naclip-bench list weights b-16 laion
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .arguments import add_import


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('words', nargs='*', metavar='WORD', help='only rows that hold every WORD')
    add_import(parser)


def main(arguments: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..catalog import catalog, filtered

    console = Console(highlight=False)
    for kind, rows in filtered(catalog(), arguments.words).items():
        table = Table(title=kind, show_header=False, title_justify='left')
        for row in rows:
            table.add_row(*row)
        console.print(table)
