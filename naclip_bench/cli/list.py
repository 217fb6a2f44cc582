"""List methods, datasets, subsets, weights, tables, backbones.

naclip-bench list            everything but backbones
naclip-bench list weights b-16 laion
naclip-bench list backbones  methods x backbones
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from .arguments import add_import

if TYPE_CHECKING:
    from rich.table import Table


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('words', nargs='*', metavar='WORD', help='only rows that hold every WORD')
    add_import(parser)


def main(arguments: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..catalog import catalog, filtered

    console = Console(highlight=False)
    if arguments.words == ['backbones']:
        for table in _backbones():
            console.print(table)
        return
    for kind, rows in filtered(catalog(), arguments.words).items():
        table = Table(title=kind, show_header=False, title_justify='left')
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _backbones() -> list[Table]:
    """Draw the families, those that cannot be one, and the methods that fit them."""
    from rich.table import Table

    from ..backbones.families import COCA, FAMILIES, REFUSED
    from ..configuration import register

    register()  # first, because it keeps MMSegmentation quiet while it loads
    from ..methods.fitting import matrix_rows

    header, *rows = matrix_rows()
    fits = Table(*header, title='methods x backbones', title_justify='left', box=None, padding=(0, 1, 0, 0))
    families = Table('backbone', 'models of open_clip', 'offers', title='backbones', title_justify='left')
    for row in rows:
        fits.add_row(*row)
    for family in FAMILIES.values():
        families.add_row(family.title, family.models, ', '.join(sorted(family.offers)))
    for why in (*REFUSED.values(), COCA):
        families.add_row('none', why, '')
    return [families, fits]
