"""What a set of tables needs, each thing once: leaves, and the passes that share them.

A leaf is a config with a row's settings on one dataset; the same leaf may stand in several cells. Leaves whose
images, sizes and weights are the same make one pass: images are decoded once, the trunk runs once a kind of window,
then each method's own part, each vocabulary, each setting (see :class:`SideBySide`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmseg.registry import MODELS

from ..configuration import config_names, load_config
from ..errors import BenchError, did_you_mean
from ..evaluation.leaf import Leaf, Selection
from ..evaluation.opened import Pass, passes_of
from .papers import MEAN, Value
from .spec import Row, TableSpec


@dataclass(frozen=True)
class Options:
    """What the command line says of every run; see :func:`load_config`.

    Attributes:
        datasets: only these datasets; None: all of a table.
        rows: only rows that are called so (see :meth:`TableSpec.calls`), or where no row is, those whose names hold one
            of these; None: all.
        refine: refinements by name, each of which makes a column more of every dataset.
        limit, subset: see :class:`Selection`.
    """

    datasets: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    data_root: str | None = None
    pretrained: str | None = None
    precision: str | None = None
    cfg_options: dict[str, object] = field(default_factory=dict)
    limit: int | None = None
    subset: Path | None = None
    refine: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        return Selection(self.limit, self.subset)


@dataclass
class Cell:
    """A number of a table: the paper's value, and where ours comes from.

    Attributes:
        leaves: what is run for it; the value is the mean over several.
        refine: of a column that is refined: by what.
    """

    table: str
    row: Row
    dataset: str
    metric: str
    paper: Value | None
    leaves: tuple[Leaf, ...] = ()
    closed_form: float | None = None
    refine: str = ''

    @property
    def column(self) -> str:
        return column_of(self.dataset, self.refine)


def column_of(dataset: str, refine: str) -> str:
    """What a column is called: ``voc21``, ``voc21 + PAMR``."""
    return f'{dataset} + {refine}' if refine else dataset


@dataclass
class Plan:
    cells: list[Cell]
    passes: list[Pass]
    tables: dict[str, TableSpec] = field(default_factory=dict)

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for pass_ in self.passes for leaf in pass_.leaves]


def make_plan(tables: Sequence[TableSpec], options: Options) -> Plan:
    """Cells, leaves and passes of ``tables``.

    Raises:
        BenchError: ``datasets`` or ``rows`` name nothing in the tables, or a row that has nothing on these datasets.
    """
    _check_datasets(tables, options)
    wanted = _wanted_rows(tables, options)
    named = {row for rows in wanted.values() for row in rows}
    leaves: dict[str, Leaf] = {}
    cells = []
    known = set(config_names())
    for table in tables:
        printed = {(value.row, value.settings, value.dataset, value.metric): value for value in table.values()}
        for row in table.rows:
            if options.rows is not None and row not in named:
                continue
            for dataset, metric in table.columns():
                if options.datasets is not None and dataset not in options.datasets and row.closed_form is None:
                    continue
                paper = printed.get((row.name, row.settings, dataset, metric))
                if printed and paper is None and row.cited:
                    continue
                cell = Cell(table.key, row, dataset, metric, paper)
                if row.closed_form is not None and paper is not None:
                    cell.closed_form = float(row.closed_form(paper))
                elif row.config is not None and row.config.format(dataset=dataset) in known and not row.lacks(dataset):
                    name = row.config.format(dataset=dataset)
                    cell.leaves = tuple(leaf_of(name, run, options, leaves) for run in row.runs_on(dataset))
                if cell.paper is not None or cell.leaves:
                    cells.append(cell)
                if all(map(_can_be_refined, cell.leaves)):
                    cells += [_refined(cell, kind, options, leaves) for kind in options.refine if cell.leaves]
            if options.datasets is None and not printed and row.cited:
                # Of a system that is cited in a table of ours, its paper's mean alone.
                key = row.name, row.settings
                own = (mean for mean in table.averages().values() if (mean.row, mean.settings) == key)
                cells += [Cell(table.key, row, MEAN, mean.metric, mean) for mean in own]
    for word, rows in wanted.items():
        if not any(cell.row in rows for cell in cells):
            where = f' on {", ".join(options.datasets)}' if options.datasets else ''
            raise BenchError(f'no row that "{word}" names has a number{where}')
    return Plan(cells, passes_of(leaves.values()), {table.key: table for table in tables})


def _can_be_refined(leaf: Leaf) -> bool:
    return MODELS.get(leaf.config.model.type).can_be_refined(leaf.config.model)


def _refined(cell: Cell, kind: str, options: Options, leaves: dict[str, Leaf]) -> Cell:
    """The cell beside one, refined by ``kind``, with its defaults where the config itself has none of that kind."""
    runs = [
        {key: value for key, value in run.items() if not f'{key}.'.startswith('model.refine.')}
        for run in cell.row.runs_on(cell.dataset)
    ]
    name = cell.row.config.format(dataset=cell.dataset)
    refined = (leaf_of(name, {**run, 'model.refine.type': kind}, options, leaves) for run in runs)
    return Cell(cell.table, cell.row, cell.dataset, cell.metric, None, tuple(refined), refine=kind)


def _check_datasets(tables: Sequence[TableSpec], options: Options) -> None:
    datasets = {dataset for table in tables for dataset, _ in table.columns()}
    for name in options.datasets or ():
        if name not in datasets:
            raise BenchError(f'no table asked for has {name}{did_you_mean(name, datasets)}')


def _wanted_rows(tables: Sequence[TableSpec], options: Options) -> dict[str, list[Row]]:
    """The rows of ``tables`` that each word of ``options.rows`` asks for."""
    rows = [(table, row) for table in tables for row in table.rows]
    wanted = {}
    for word in options.rows or ():
        found = [row for table, row in rows if table.calls(row, word)]
        wanted[word] = found or [row for _, row in rows if word.lower() in row.name.lower()]
        if not wanted[word]:
            raise BenchError(f'no row holds "{word}"{did_you_mean(word, {row.name for _, row in rows})}')
    return wanted


def leaf_of(name: str, changed: dict[str, object], options: Options, leaves: dict[str, Leaf]) -> Leaf:
    """A config with settings changed in it, as one of ``leaves``, to which it is added where it is new."""
    # What is asked of every cell takes the place of what a row changes.
    asked = {f'model.backbone.{name}' for name in ('pretrained', 'precision') if getattr(options, name) is not None}
    overrides = {**{key: value for key, value in changed.items() if key not in asked}, **options.cfg_options}
    config = load_config(name, options.data_root, options.pretrained, options.precision, overrides)
    content = json.dumps(
        [config[key] for key in ('model', 'test_dataloader', 'test_evaluator', 'protocol')],
        sort_keys=True,
        default=str,
    )
    return leaves.setdefault(content, Leaf(name, config, overrides))
