"""A result on the terminal: the per-class table, the summary, and what it stands on."""

from __future__ import annotations

from math import isnan
from pathlib import Path

from rich.console import Console
from rich.table import Table

MADE_UP = 'MADE-UP WEIGHTS: these numbers mean nothing; they only show that the run works.'


def print_result(record: dict, path: Path) -> None:
    """Print a result record.

    Args:
        record: see docs/result.md.
        path: where it was written.
    """
    console = Console(highlight=False, soft_wrap=True)
    table = Table('class')
    for name in ('IoU', 'Acc', 'pixels'):
        table.add_column(name, justify='right')
    for row in record['per_class']:
        table.add_row(row['class'], _percent(row['IoU']), _percent(row['Acc']), f'{row["pixels"]:,}')
    console.print(table)
    metrics, settings, pictures, times = (record[key] for key in ('metrics', 'settings', 'pictures', 'times'))
    console.print('   '.join(f'[bold]{name} {_percent(value)}[/bold]' for name, value in metrics.items()))
    protocol = record['protocol']
    if record['overrides']:
        protocol += ', changed: ' + ', '.join(f'{key}={value}' for key, value in record['overrides'].items())
    console.print(f'{record["method"]} on {record["dataset"]}, protocol {protocol}', markup=False)
    official = pictures['official']
    part = '' if pictures['count'] == official else f' of {official:,}: a part, not the benchmark'
    console.print(
        f'{pictures["count"]} pictures{part}; '
        f'{settings["arch"]}, weights {settings["weights"]} ({record["hashes"]["weights"][:8]}), '
        f'{settings["precision"]}',
        markup=False,
    )
    stages = ', '.join(f'{stage} {seconds:.1f}' for stage, seconds in times['stages'].items())
    console.print(f'{times["wall"]:.1f} s on {record["device"]["name"]} ({stages}); {path}', markup=False)
    if record['made_up_weights']:
        console.print(f'[bold red]{MADE_UP}[/bold red]')


def _percent(value: float) -> str:
    return '-' if isnan(value) else f'{value:.2f}'
