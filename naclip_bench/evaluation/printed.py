"""A result on the terminal: its tables, its summary, and what it stands on."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..console import print_whole, screen
from .record import RANDOM_WEIGHTS


def print_result(record: dict, path: Path, computed: int) -> None:
    """Print a result record.

    Args:
        record: see docs/result.md.
        path: where it was written.
        computed: how many of its images were computed for it; the others were in the store.
    """
    console = screen()
    print_scores(record['per_class'], record['metrics'])
    settings, images, times = (record[key] for key in ('settings', 'images', 'times'))
    protocol = record['protocol']
    if record['overrides']:
        protocol += ', changed: ' + ', '.join(f'{key}={value}' for key, value in record['overrides'].items())
    console.print(f'{record["method"]} on {record["dataset"]}, protocol {protocol}', markup=False)
    official = images['official']
    part = '' if images['count'] == official else f' of {official:,}: a part, not the benchmark'
    listed = images['official_list']
    if listed and (listed['missing'] or listed['extra']):
        part += f'; of the list "{listed["name"]}" {listed["missing"]:,} are missing, {listed["extra"]:,} are extra'
    console.print(
        f'{images["count"]} images{part}; '
        f'{settings["arch"]}, weights {settings["weights"]} ({record["hashes"]["weights"][:8]}), '
        f'{settings["precision"]}',
        markup=False,
    )
    if computed:
        stages = ', '.join(f'{stage} {seconds:.1f}' for stage, seconds in times['stages'].items())
        here = '' if computed == images['count'] else f'{computed} images computed now, the others read: '
        console.print(f'{here}{times["wall"]:.1f} s on {record["device"]["name"]} ({stages}); {path}', markup=False)
    else:
        console.print(
            f'read from the store, nothing computed: finished {record["date"]} on {record["device"]["name"]}; {path}',
            markup=False,
        )
    if record.get('note'):
        console.print(record['note'], style='bold yellow', markup=False)
    if record['random_weights']:
        console.print(RANDOM_WEIGHTS, style='bold red')


def print_scores(per_class: list[dict], metrics: dict[str, float | None]) -> None:
    """Print a row a class, and the summary metrics, in percent.

    Args:
        per_class: each ``class``, ``IoU``, ``Acc``, what a metric has beside, and ``pixels``.
        metrics: value by name.
    """
    console = screen()
    table = Table('class')
    names = [name for name in per_class[0] if name not in ('class', 'pixels')]
    for name in (*names, 'pixels'):
        table.add_column(name, justify='right')
    for row in per_class:
        # Class names are text, whatever brackets are in them.
        table.add_row(Text(row['class']), *(_percent(row[name]) for name in names), f'{row["pixels"]:,}')
    print_whole(console, table)
    console.print('   '.join(f'[bold]{name} {_percent(value)}[/bold]' for name, value in metrics.items()))


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
