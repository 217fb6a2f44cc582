"""List methods, datasets, subsets, weights and the papers' tables.

python tools/list.py            everything
python tools/list.py weights b-16 laion
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('words', nargs='*', metavar='WORD', help='only rows that hold every WORD')
    words = parser.parse_args().words
    from naclip_bench.configuration import register

    register()
    from rich.console import Console
    from rich.table import Table

    from naclip_bench.catalog import catalog, filtered

    console = Console(highlight=False)
    for kind, rows in filtered(catalog(), words).items():
        table = Table(title=kind, show_header=False, title_justify='left')
        for row in rows:
            table.add_row(*row)
        console.print(table)


if __name__ == '__main__':
    run_command(main)
