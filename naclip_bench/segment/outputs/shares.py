"""Pixels and share of each class, as a table that spreadsheets read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...files import written_beside

if TYPE_CHECKING:
    from ..result import Segmentation

HEAD = ('image', 'method', 'class', 'pixels', 'share')


def write(result: Segmentation, path: Path) -> None:
    write_table(path, rows_of(result.name, result.method, result.areas))


def rows_of(image: str, method: str, areas: Mapping[str, int]) -> list[tuple]:
    """A row a class; the share is of all pixels that have one."""
    total = max(1, sum(areas.values()))
    return [(image, method, name, pixels, f'{pixels / total:.6f}') for name, pixels in areas.items()]


def write_table(path: Path, rows: list[tuple]) -> None:
    with written_beside(path) as temporary, temporary.open('w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows([HEAD, *rows])
