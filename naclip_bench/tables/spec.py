"""What a table is, and a row of it: a config and settings to run, a closed form, or a system that is cited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .papers import Value, averages, of_table, remaining_columns, text, values


class First(NamedTuple):
    """A file that another command writes, and the command."""

    file: str
    command: str


@dataclass(frozen=True, eq=False)
class Row:
    """A row, by its name and settings in ``papers.csv``.

    Attributes:
        name, settings: of the paper's row.
        config: name of a config with ``{dataset}`` in it; None where there is nothing to run.
        overrides: settings changed in it, by their dotted names.
        on: more of them by dataset, for that dataset alone.
        trials: more of them for each of several runs, whose mean is the value; empty: one run.
        first: by dataset, what is to be run before the row can be.
        closed_form: computes a value without running anything.
        cited: why the row is not run.
        remark: where the row may be another thing than the paper's, or the paper contradicts itself.
        counted_side: of the square image whose operations are counted, in pixels; None: what the row's config makes of
            one.
    """

    name: str
    settings: str = ''
    config: str | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    on: dict[str, dict[str, object]] = field(default_factory=dict)
    trials: tuple[dict[str, object], ...] = ()
    first: dict[str, First] = field(default_factory=dict)
    closed_form: Callable[[Value], float] | None = None
    cited: str = ''
    remark: str = ''
    counted_side: int | None = None

    def lacks(self, dataset: str) -> First | None:
        """What is to be run before the row can be on a dataset, while its file is not there."""
        first = self.first.get(dataset)
        return None if first is None or Path(first.file).is_file() else first

    def runs_on(self, dataset: str) -> list[dict[str, object]]:
        """The settings changed in each run on a dataset."""
        return [{**self.overrides, **self.on.get(dataset, {}), **trial} for trial in self.trials or ({},)]


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
        return of_table(*self.key.split('/'), values())

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

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """What a reader must know of these of the rows, a sentence each."""
        notes = [self.note] if self.note else []
        cited = _grouped((row.cited, row.name) for row in rows)
        if cited:
            reasons = '; '.join(f'{names} ({why})' for why, names in cited.items())
            notes.append(f'Cited from the paper, not run here: {reasons}.')
        for row in rows:
            for dataset in row.first:
                if lacking := row.lacks(dataset):
                    notes.append(f'{self.label(row)}: on {dataset} once there is {lacking.file}, by: {lacking.command}')
        remarks = _grouped((row.remark, self.label(row)) for row in rows)
        return notes + [f'{labels}: {remark}.' for remark, labels in remarks.items()]

    def averages(self) -> dict[tuple[str, str, str], Value]:
        """What the paper prints as averages, by a row's name and settings and the metric."""
        printed = of_table(*self.key.split('/'), averages())
        return {(value.row, value.settings, value.metric): value for value in printed}

    def remaining_columns(self) -> dict[tuple[str, str], dict[str, str]]:
        """Text of the paper's columns that are of no dataset, by a row's name and settings and by column."""
        return remaining_columns(*self.key.split('/'))

    def wrong_averages(self, rows: Sequence[Row], metric: str) -> list[str]:
        """Which averages of the rows are not the mean of the values beside them: one sentence, or none."""
        beside: dict[tuple[str, str, str], list[float]] = {}
        for value in self.values():
            beside.setdefault((value.row, value.settings, value.metric), []).append(value.value)
        found = []
        for row in rows:
            key = row.name, row.settings, metric
            average = self.averages().get(key)
            # Of a table of its own the values beside a cited mean are in its paper.
            if average and key in beside:
                printed = text(average.value, average.digits)
                mean = text(sum(beside[key]) / len(beside[key]), average.digits)
                if printed != mean:
                    found.append(f'{self.label(row)} {printed} (mean {mean})')
        if not found:
            return []
        return [f"The paper's averages ({metric}) that are not the mean of the values beside them: {'; '.join(found)}."]

    def columns(self) -> list[tuple[str, str]]:
        """(dataset, metric) of each column, in the paper's order."""
        printed = dict.fromkeys((value.dataset, value.metric) for value in self.values())
        return list(printed) or [(dataset, 'mIoU') for dataset in self.datasets]


def _grouped(said_of: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of (what is said, of whom): whom, comma between them, by what is said; nobody of whom nothing is."""
    found: dict[str, list[str]] = {}
    for said, name in said_of:
        if said:
            found.setdefault(said, []).append(name)
    return {said: ', '.join(dict.fromkeys(names)) for said, names in found.items()}
