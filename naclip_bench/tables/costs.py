"""Seconds and memory of a table's rows, measured once on a machine, beside its numbers."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import BenchError
from .report import Report

#: Columns of tables that show what rows cost.
SECONDS, MEMORY = 's/image', 'MiB'


def read_costs(path: Path) -> dict:
    """Read what :func:`naclip_bench.speed.methods.write_costs` wrote.

    Raises:
        BenchError: there is no such file, or it holds something else.
    """
    try:
        costs = json.loads(path.read_text(encoding='utf-8'))
        about, methods = costs['about'], costs['methods']
        device = about['device']
        return {
            'methods': {name: (float(of['seconds']), int(of['memory'])) for name, of in methods.items()},
            'measured': (
                f'Seconds an image and peak memory (weights and what comes above them): {about["images"]} images of '
                f'{about["dataset"]}, {about["precision"]}, {device["name"]}, {device["threads"]} threads, '
                f'{about["date"][:10]}; text vectors and reading are apart.'
            ),
        }
    except OSError as error:
        raise BenchError(f'--costs: cannot read {path}: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(
            f'--costs: {path} is no file of costs; `naclip-bench benchmark clip_voc21 --beside naclip --out FILE` '
            'writes one'
        ) from None


def put_costs(report: Report, costs: dict) -> None:
    """Show what rows cost in the tables that have columns for it."""
    for block in report.blocks:
        if SECONDS not in block.remaining:
            continue
        block.measured = costs['measured']
        for line in block.lines:
            found = costs['methods'].get((line.row.config or '').removesuffix('_{dataset}'))
            if found:
                line.counted |= {SECONDS: f'{found[0]:.2f}', MEMORY: f'{found[1] / 2**20:,.0f}'}
