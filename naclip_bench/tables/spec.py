"""What a table is, and a row of it: a config and settings to run, a closed form, or a system that is cited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .papers import Value, of_table


@dataclass(frozen=True, eq=False)
class Row:
    """A row, by its name and settings in ``papers.csv``.

    Attributes:
        name, settings: of the paper's row.
        config: name of a config with ``{dataset}`` in it; None where there is nothing to run.
        overrides: settings changed in it, by their dotted names.
        closed_form: computes a value without running anything.
        cited: why the row is not run.
    """

    name: str
    settings: str = ''
    config: str | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    closed_form: Callable[[Value], float] | None = None
    cited: str = ''


@dataclass(frozen=True)
class TableSpec:
    """A table of a paper.

    Attributes:
        key: ``naclip/table1``.
        title: what it is about.
        rows: in the paper's order.
        datasets: of a table whose values no paper prints; else those of its values.
        note: what a reader must know of how our column comes about.
        mean: a mean over the datasets says something.
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...] = ()
    note: str = ''
    mean: bool = True

    def values(self) -> list[Value]:
        return of_table(*self.key.split('/'))

    def conditions(self, row: Row) -> str:
        """A row's settings as a reader sees them, ``train=no, size=336``; empty where they tell no rows apart."""
        if len({other.settings for other in self.rows}) == 1:
            return ''
        return ', '.join(part.strip() for part in row.settings.split(';'))

    def label(self, row: Row) -> str:
        """What a row is called: its name, and its conditions behind it."""
        return f'{row.name} {self.conditions(row)}'.strip()

    def calls(self, row: Row, wanted: str) -> bool:
        """``wanted`` is the row's name or label, or either behind the table's key, whatever its case."""
        names = (row.name, self.label(row))
        return wanted.lower() in {text.lower() for name in names for text in (name, f'{self.key} {name}')}

    def columns(self) -> list[tuple[str, str]]:
        """(dataset, metric) of each column, in the paper's order."""
        printed = dict.fromkeys((value.dataset, value.metric) for value in self.values())
        return list(printed) or [(dataset, 'mIoU') for dataset in self.datasets]
