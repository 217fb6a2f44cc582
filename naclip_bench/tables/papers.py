"""What the papers' tables say: 950 values, each with the paper it came from (``papers.csv``)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
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


@cache
def values() -> tuple[Value, ...]:
    """Every value of the four papers' tables, in the papers' order."""
    with (Path(__file__).parent / 'papers.csv').open(newline='') as file:
        return tuple(
            Value(
                *(line[key] for key in ('paper', 'table', 'row', 'settings', 'dataset', 'metric')),
                float(line['value']),
                len(line['value'].partition('.')[2]),
            )
            for line in csv.DictReader(file)
        )


def of_table(paper: str, table: str) -> list[Value]:
    return [value for value in values() if (value.paper, value.table) == (paper, table)]
