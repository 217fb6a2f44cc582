"""Operations of a table's rows, counted beside the papers' column ``flops``."""

from __future__ import annotations

from ..console import telling
from ..speed.flops import flops_of_config
from .estimate import resized
from .plan import Cell
from .report import Report

#: The papers' column.
FLOPS = 'flops'

#: Side in pixels of the square image that is resized: the papers' ratios are those of one.
SIDE = 500


def count_operations(report: Report) -> None:
    """Count the operations of every row of the tables that print them, the first row's as 1; random weights do.

    The count of a row is that of its first dataset.
    """
    for block in report.blocks:
        if FLOPS not in block.remaining:
            continue
        totals = {}
        for place, line in enumerate(block.lines):
            cells = [number.cell for number in line.numbers.values() if number.cell and number.cell.leaves]
            if cells:
                with telling(f'operations of {block.spec.label(line.row)}'):
                    totals[place] = operations(cells[0])
        first = totals.get(0) if block.lines[0].row is block.spec.rows[0] else None
        for place, total in totals.items():
            ratio = f'{total / first:.2f}x, ' if first else ''
            block.lines[place].counted[FLOPS] = f'{ratio}{total / 1e9:.1f} GFLOP'


def operations(cell: Cell) -> int:
    """Count what the first run of a cell does with a square image."""
    config = cell.leaves[0].config
    side = cell.row.counted_side
    size = (side, side) if side else resized((SIDE, SIDE), config.test_dataloader.dataset.pipeline)
    return flops_of_config(config, size).total
