"""The papers' tables beside ours, as data; how they look is said in ``formats`` and ``html``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..evaluation.leaf import Leaf
from ..evaluation.run import Result
from .bootstrap import Interval, intervals
from .compare import Comparison
from .papers import MEAN, text
from .plan import Cell, Options, Plan, column_of
from .spec import Row, TableSpec

#: The papers' metrics that have another name here.
METRIC_KEYS = {'pAcc': 'aAcc'}

#: Which drawn metric is a result's, where it has another name: of agreement, a "pixel" being a token.
DRAWN_KEYS = {'accuracy': 'aAcc'}

#: Why a number is not the benchmark's, by the letter that stands behind it wherever it is shown.
MARKS = {
    'W': 'random weights: the number means nothing',
    'S': 'some of the images, not the benchmark',
    'P': 'the vision tower in bf16 or fp16, or its trunk kept in fp16; fp32 is the reference',
    'C': "weights or settings of the command line, not the row's own",
    'T': 'swept on images that are scored: a setting chosen by them is no result',
}

#: Settings that decide how fast a run is, and no number.
SPEED = {
    'model.window_batch',
    'model.refine.query_chunk',
    'model.backbone.keep',  # what it rounds is told by P
    'test_dataloader.batch_size',
    'test_dataloader.num_workers',
}


@dataclass
class Number:
    """A cell of a table, or the mean of a row.

    Attributes:
        paper, ours: the two values, where there are any; percent, not rounded.
        digits: decimals that the paper prints.
        marks: letters of :data:`MARKS` that hold.
        interval: 95 %, over images; see :mod:`.bootstrap`.
        cell, result: what it stands for; None of a mean over datasets.
        others: further results, where ours is the mean over several; it has no interval then.
    """

    paper: float | None
    ours: float | None
    digits: int
    marks: str = ''
    interval: Interval | None = None
    cell: Cell | None = None
    result: Result | None = None
    others: tuple[Result, ...] = ()

    @property
    def difference(self) -> float | None:
        return None if self.paper is None or self.ours is None else self.ours - self.paper

    @property
    def paper_text(self) -> str:
        return text(self.paper, self.digits)


@dataclass
class Line:
    """A row of a table.

    Attributes:
        numbers: by dataset.
        remaining: what else the paper prints of it, by column.
        counted: ours of these columns; see :func:`count_operations`.
    """

    row: Row
    settings: str
    numbers: dict[str, Number]
    remaining: dict[str, str]
    counted: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f'{self.row.name} {self.settings}'.strip()

    @property
    def protocol(self) -> str:
        """Of what was run: ``common``, ``official``; empty where nothing was."""
        found = (number.result.record['protocol'] for number in self.numbers.values() if number.result)
        return ', '.join(dict.fromkeys(found))


@dataclass
class Block:
    """A table, or the part of it that has one metric.

    Attributes:
        datasets: the columns; ``mean`` behind them where the table is whole.
        digits: decimals of our values: the most that the paper prints.
        measured: where and how what rows cost was measured; see :mod:`.costs`.
    """

    spec: TableSpec
    metric: str
    datasets: list[str]
    lines: list[Line]
    digits: int
    measured: str = ''

    @property
    def remaining(self) -> list[str]:
        return list(dict.fromkeys(column for line in self.lines for column in line.remaining))

    @property
    def columns(self) -> list[str]:
        return [*self.datasets, *self.remaining]

    @property
    def title(self) -> str:
        return f'{self.spec.key}: {self.spec.title} ({self.metric})'

    @property
    def has_paper(self) -> bool:
        """The table is a paper's."""
        return any(number.paper is not None for number in self.numbers())

    def numbers(self) -> Iterable[Number]:
        return (number for line in self.lines for number in line.numbers.values())

    def notes(self) -> list[str]:
        """What a reader must know of the numbers, a sentence each."""
        counts = {
            dataset: dict.fromkeys(images(line.numbers[dataset]) for line in self.lines if dataset in line.numbers)
            for dataset in self.datasets
        }
        shown = (f'{dataset} {count}' for dataset, found in counts.items() for count in found if count)
        without = [name for name in self.datasets if name != MEAN and not any(self._ours(name))]
        rows = [line.row for line in self.lines]
        notes = self.spec.notes(rows)
        if MEAN in self.datasets:
            notes += self.spec.wrong_averages(rows, self.metric)
        if without and any(number.ours is not None for number in self.numbers()):
            notes.append(f'Not run here: {", ".join(without)}.')
        if self.measured:
            notes.append(self.measured)
        if sizes := '; '.join(shown):
            notes.append(f'Images: {sizes}.')
        return notes

    def _ours(self, dataset: str) -> Iterable[bool]:
        return (line.numbers[dataset].ours is not None for line in self.lines if dataset in line.numbers)


def images(number: Number) -> str:
    """``4 of 1,449``, or ``1,449`` where all were scored; empty where nothing was run."""
    if number.result is None:
        return ''
    of = number.result.record['images']
    return f'{of["count"]:,}' if of['count'] == of['official'] else f'{of["count"]:,} of {of["official"]:,}'


@dataclass
class Report:
    """Tables, and what was compared.

    Attributes:
        date: UTC.
        charts: ``<svg>`` elements for the page, by a block's title; see :func:`naclip_bench.figures.charts.charts_of`.
        command: which makes the report again; empty where none is known.
    """

    blocks: list[Block]
    comparisons: list[Comparison] = field(default_factory=list)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec='seconds'))
    command: str = ''
    charts: dict[str, list[str]] = field(default_factory=dict)

    def marks(self) -> dict[str, str]:
        """Those of :data:`MARKS` that some number has."""
        found = {mark for block in self.blocks for number in block.numbers() for mark in number.marks}
        return {mark: meaning for mark, meaning in MARKS.items() if mark in found}

    def marks_of(self, comparison: Comparison) -> str:
        """The marks of the two rows that are compared."""
        found = {
            mark
            for block in self.blocks
            for number in block.numbers()
            if number.cell and set(number.cell.leaves) & set(comparison.leaves)
            for mark in number.marks
        }
        return ''.join(mark for mark in MARKS if mark in found)

    def results(self) -> dict[str, tuple[Block, Line, Number]]:
        """Each result once, by its run's hash, where it is first shown."""
        shown: dict[str, tuple[Block, Line, Number]] = {}
        for block in self.blocks:
            for line in block.lines:
                for number in line.numbers.values():
                    for result in (number.result, *number.others):
                        if result is not None:
                            run = result.record['hashes']['run']
                            shown.setdefault(run, (block, line, replace(number, result=result)))
        return shown


def make_report(plan: Plan, results: Mapping[Leaf, Result], tables: Sequence[TableSpec], options: Options) -> Report:
    """The tables with the results in their cells."""
    of_run: dict[str, dict] = {}
    spread = {}
    for leaf, result in results.items():
        run = result.record['hashes']['run']
        spread[leaf] = of_run[run] = of_run[run] if run in of_run else intervals(leaf, result)
    blocks = []
    for table in tables:
        cells = [cell for cell in plan.cells if cell.table == table.key]
        for metric in dict.fromkeys(metric for _, metric in table.columns()):
            shown = [cell for cell in cells if cell.metric == metric]
            if shown:
                numbers = [_number(cell, results, spread, options) for cell in shown]
                blocks.append(_block(table, metric, numbers))
    return Report(blocks)


def _number(cell: Cell, results: Mapping[Leaf, Result], spread: Mapping[Leaf, dict], options: Options) -> Number:
    number = Number(None, cell.closed_form, 0, cell=cell)
    if cell.paper is not None:
        number.paper, number.digits = cell.paper.value, cell.paper.digits
    # A mean over some of its runs could be taken for the whole.
    if cell.leaves and all(leaf in results for leaf in cell.leaves):
        key = METRIC_KEYS.get(cell.metric, cell.metric)
        number.result, *others = (results[leaf] for leaf in cell.leaves)
        number.others = tuple(others)
        records = [result.record for result in (number.result, *others)]
        number.ours = mean_of([record['metrics'].get(key) for record in records])
        if not others:
            number.interval = spread[cell.leaves[0]].get(DRAWN_KEYS.get(key, key))
        marks = {mark for record in records for mark in _marks(record, cell.row, options)}
        number.marks = ''.join(mark for mark in MARKS if mark in marks)
    return number


def _marks(record: dict, row: Row, options: Options) -> str:
    # What the record says of itself is believed, not what was asked for: a data folder may be short of images.
    weights = row.overrides.get('model.backbone.pretrained', 'openai')
    holds = {
        'W': record['random_weights'],
        'S': record['images']['count'] != record['images']['official'],
        'P': record['settings']['precision'] != 'fp32',
        'C': bool(options.cfg_options.keys() - SPEED)
        or (not record['random_weights'] and options.pretrained not in (None, weights)),
    }
    # Whether a setting was swept is known to the sweep alone.
    return ''.join(mark for mark in MARKS if holds.get(mark))


def _block(table: TableSpec, metric: str, numbers: Sequence[Number]) -> Block:
    columns = [dataset for dataset, of in table.columns() if of == metric]
    lines: dict[tuple[str, str], Line] = {}
    remaining = table.remaining_columns()
    for number in numbers:
        row = number.cell.row
        key = row.name, row.settings
        line = lines.setdefault(key, Line(row, table.conditions(row), {}, remaining.get(key, {})))
        line.numbers[number.cell.column] = number
    used = {number.cell.column for number in numbers}
    datasets = [dataset for dataset in columns if dataset in used]
    digits = max((number.digits for number in numbers if number.paper is not None), default=1)
    if table.mean and len(datasets) > 1 and datasets == columns:
        # A mean over some of the datasets could be taken for the paper's.
        averages = table.averages()
        for key, line in lines.items():
            line.numbers[MEAN] = _mean([line.numbers.get(dataset) for dataset in datasets], digits)
            if average := averages.get((*key, metric)):
                line.numbers[MEAN].paper = average.value
        datasets.append(MEAN)
    kinds = dict.fromkeys(number.cell.refine for number in numbers if number.cell.refine)
    refined = [column_of(dataset, kind) for kind in kinds for dataset in columns]
    datasets += [column for column in refined if column in used]
    return Block(table, metric, datasets, list(lines.values()), digits)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Their mean; None where one is missing."""
    return None if None in values else sum(values) / len(values)


def _mean(numbers: Sequence[Number | None], digits: int) -> Number:
    """Over all datasets of a table; a value that is missing leaves none."""
    found = [number or Number(None, None, digits) for number in numbers]
    marks = ''.join(mark for mark in MARKS if any(mark in number.marks for number in found))
    ours = mean_of([number.ours for number in found])
    return Number(mean_of([number.paper for number in found]), ours, digits, marks if ours is not None else '')
