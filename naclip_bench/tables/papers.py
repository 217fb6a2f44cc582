"""What the papers' tables say, each value with the paper it came from (``papers.csv``).

A line is a cell as it is printed. Its dataset is ``mean`` where the paper prints a row's average, and empty where the
column is of no dataset: ``fair`` (whether the authors call the comparison fair) and ``flops``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path

#: Papers by key, as a report cites them.
PAPERS = {
    'naclip': 'Hajimiri, Ben Ayed, Dolz: Pay Attention to Your Neighbours (WACV 2025)',
    'sclip': 'Wang, Mei, Yuille: SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference (ECCV 2024)',
    'cliptrase': 'Shao, Tian, Zhao, Su: Explore the Potential of CLIP for Training-Free OVSS (ECCV 2024)',
    'gclip': 'Wang, Yan, Kang: GCLIP, global knowledge of CLIP for training-free OVSS (CVPR 2025)',
}


@dataclass(frozen=True)
class Value:
    """One cell of a paper's table.

    Attributes:
        paper, table: where it stands: ``naclip``, ``table1``.
        row: as the paper names it.
        settings: what tells rows of one name apart: ``post=pamr``.
        dataset: our key.
        metric: mIoU, mAcc, pAcc, fwIoU, accuracy or patches.
        value: as printed.
        digits: decimals that the paper prints.
    """

    paper: str
    table: str
    row: str
    settings: str
    dataset: str
    metric: str
    value: float
    digits: int


#: What stands in place of a dataset where a paper prints a row's average.
MEAN = 'mean'


@cache
def _lines() -> tuple[dict[str, str], ...]:
    with (Path(__file__).parent / 'papers.csv').open(newline='', encoding='utf-8') as file:
        return tuple(csv.DictReader(file))


@cache
def values() -> tuple[Value, ...]:
    """Every value of the four papers' tables that is a dataset's, in the papers' order."""
    return tuple(_value(line) for line in _lines() if line['dataset'] not in ('', MEAN))


@cache
def averages() -> tuple[Value, ...]:
    """The averages that the papers print."""
    return tuple(_value(line) for line in _lines() if line['dataset'] == MEAN)


def _value(line: dict[str, str]) -> Value:
    keys = ('paper', 'table', 'row', 'settings', 'dataset', 'metric')
    return Value(*(line[key] for key in keys), float(line['value']), len(line['value'].partition('.')[2]))


@cache
def remaining_columns(paper: str, table: str) -> dict[tuple[str, str], dict[str, str]]:
    """What a table prints of a row, by its name and settings, besides values of datasets: text by column."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for line in _lines():
        if (line['paper'], line['table'], line['dataset']) == (paper, table, ''):
            found.setdefault((line['row'], line['settings']), {})[line['metric']] = line['value']
    return found


def of_table(paper: str, table: str, printed: Sequence[Value]) -> list[Value]:
    """Those of ``printed`` that are a table's."""
    return [value for value in printed if (value.paper, value.table) == (paper, table)]


def text(value: float | None, digits: int, sign: str = '') -> str:
    """A value with so many decimals, ``-`` where there is none; ``sign`` is ``+`` for differences.

    Halves are rounded up, as the papers do: 30.25 is their 30.3.
    """
    if value is None:
        return '-'
    # What floats add behind the ninth decimal is no half; adding 0 makes a plus of the minus of zero.
    decimal = Decimal(str(round(value, 9))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP) + 0
    return f'{decimal:{sign}}'
