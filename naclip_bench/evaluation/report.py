"""A result on the terminal: its tables, its summary, and what it stands on."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from mmengine.config import Config
from rich.console import Console
from rich.table import Column, Table

from ..speed.against_plain import Measured
from .record import RANDOM_WEIGHTS, device_record


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
    metrics, settings, images, times = (record[key] for key in ('metrics', 'settings', 'images', 'times'))
    console.print('   '.join(f'[bold]{name} {_percent(value)}[/bold]' for name, value in metrics.items()))
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
    stages = ', '.join(f'{stage} {seconds:.1f}' for stage, seconds in times['stages'].items())
    console.print(f'{times["wall"]:.1f} s on {record["device"]["name"]} ({stages}); {path}', markup=False)
    if record.get('note'):
        console.print(f'[bold yellow]{record["note"]}[/bold yellow]')
    if record['random_weights']:
        console.print(f'[bold red]{RANDOM_WEIGHTS}[/bold red]')


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def print_benchmark(config: Config, measured: Measured) -> None:
    """Print a benchmark run: stages, rates, memory, and the plain way beside ours."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table('stage', *(Column(name, justify='right') for name in ('seconds', 'share', 'plain way (fp32)')))
    for stage, seconds in measured.stages.items():
        plain = measured.plain.get(stage)
        share = f'{100 * seconds / measured.seconds:.1f} %'
        table.add_row(stage, f'{seconds:.3f}', share, f'{plain:.3f}' if plain is not None else '')
    table.add_row('text, once', f'{measured.text:.3f}', '', '')
    console.print(table)
    if config.model.backbone.get('pretrained') is None:
        console.print(f'[bold red]{RANDOM_WEIGHTS}[/bold red]')
    precision, device = config.model.backbone.get('precision', 'fp32'), device_record(measured.device)
    lines = [
        f'{config.dataset}, {config.model.type}, {precision}, {device["name"]}, {device["threads"]} threads',
        f'{measured.images} images, {measured.windows} windows in {measured.seconds:.2f} s: '
        f'{measured.windows / measured.seconds:.2f} windows/s, {measured.images / measured.seconds:.2f} images/s',
        f'trunk {measured.trunk_rate / 1e9:.0f} GFLOP/s, '
        f'{100 * measured.trunk_rate / measured.matrix_rate:.0f} % of a matrix product '
        f'({measured.matrix_rate / 1e9:.0f} GFLOP/s in this run)',
        f'everything but the trunk: {100 * (1 - measured.stages["trunk"] / measured.seconds):.1f} % of the time',
        f'peak memory above the weights: {measured.peak / 2**20:.0f} MiB',
    ]
    if measured.ratios:
        lines += [
            f'against the plain way: {median(measured.ratios):.2f}x end to end, '
            f'{median(measured.stitch_ratios):.1f}x in stitch+decide (medians over the batches); '
            f'{100 * measured.agreement:.4f} % of labels equal',
        ]
    for line in lines:
        console.print(line, markup=False)
