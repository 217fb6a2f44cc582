"""The check of a dataset on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .dataset import CheckedDataset

#: Columns that a class takes in the histogram.
WIDTH = 40


def print_verdict(report: CheckedDataset) -> None:
    """Print the findings, the class histogram, the fingerprint and, last, the verdict."""
    console = Console(highlight=False)
    table = Table(title=Text(report.key), title_justify='left')
    for column in ('check', 'result', 'how to mend it'):
        table.add_column(column, overflow='fold')
    for finding in report.findings:
        state = Text(finding.problem, 'red') if finding.problem else 'OK'
        table.add_row(finding.check, state, Text(finding.mend if finding.problem else ''))
    console.print(table)
    # Lines to copy: never wrapped.
    if report.contents is not None and report.contents.masks:
        _print_histogram(console, report)
        fingerprint = report.contents.fingerprint or 'none, since masks are missing or cannot be read'
        console.print(f'{report.contents.masks:,} masks, fingerprint {fingerprint}', soft_wrap=True)
    console.print(Text(verdict(report)), soft_wrap=True)


def verdict(report: CheckedDataset) -> str:
    """The result in a line: ``voc21: sound``."""
    failed = len({finding.check for finding in report.findings if finding.problem})
    return f'{report.key}: {failed} check{"s" * (failed > 1)} failed' if failed else f'{report.key}: sound'


def _print_histogram(console: Console, report: CheckedDataset) -> None:
    side_by_side = max(1, console.width // WIDTH)
    table = Table(box=None, padding=(0, 1))
    for _ in range(side_by_side):
        table.add_column('class', max_width=18, no_wrap=True)
        table.add_column('pixels', justify='right', no_wrap=True)
        table.add_column('images', justify='right', no_wrap=True)
    cells = list(_rows(report))
    rows = -(-len(cells) // side_by_side)
    for row in range(rows):
        table.add_row(*(text for cell in cells[row::rows] for text in cell))
    console.print(table)


def _rows(report: CheckedDataset) -> Iterator[tuple[str | Text, str, str]]:
    contents = report.contents
    pixels, images = (sums[np.array(contents.scored)] for sums in (contents.pixels, contents.images))
    yield from zip(map(Text, report.classes), map('{:,}'.format, pixels), map('{:,}'.format, images), strict=True)
    yield 'not scored', f'{contents.pixels.sum() - pixels.sum():,}', f'{contents.with_unscored:,}'
