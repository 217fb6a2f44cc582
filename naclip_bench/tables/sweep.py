"""A sweep: one config with every combination of some settings' values, run together and shown as a table.

Settings that come late on the way of an image cost little: the trunk runs once, methods with the same tokens share
them, with the same words the logits, and thresholds are decided from one map (see :mod:`naclip_bench.methods.stages`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mmengine.config import Config
from rich import box
from rich.table import Column, Table

from ..bundled import CLASS_NAMES
from ..configuration import config_names, load_config, parse_settings
from ..console import print_whole, screen
from ..datasets.splits import official_list
from ..errors import BenchError, did_you_mean
from ..evaluation.leaf import Leaf
from ..evaluation.opened import passes_of
from ..evaluation.run import Result
from .plan import Cell, Options, Plan, leaf_of
from .report import Number, Report, make_report
from .spec import Row, TableSpec

#: FIRST:LAST:STEP
RANGE = re.compile(r'([^:,]+):([^:,]+):([^:,]+)')

#: Short names of sets of prompt templates.
TEMPLATES = {'one': 'photo'}


@dataclass(frozen=True, eq=False)
class Axis:
    """A setting and its values.

    Attributes:
        name: as it is shown.
        setting: its dotted name.
        values: by what each is called.
    """

    name: str
    setting: str
    values: Mapping[str, object]

    @property
    def is_number(self) -> bool:
        return len(self.values) > 1 and all(type(value) in (int, float) for value in self.values.values())


def parse_axis(text: str, dataset: str) -> Axis:
    """Read ``prob_thd=0:0.6:0.05``, ``background=naclip,none`` or ``model.sigma=3,5``.

    Args:
        text: a setting, of the model where it has no dot, and its values: FIRST:LAST:STEP, or values with a comma
            between them. ``background`` is whose class names are taken, by the method whose authors run them
            (``none``: no words for class 0, or a bundled file); ``templates`` is sets of prompts by name, or ``one``.
        dataset: that is swept on.

    Raises:
        BenchError: it is none of these, or a value is not to be had.
    """
    name, equals, values = text.partition('=')
    if not (name and equals and values):
        raise BenchError(f'"{text}" is not SETTING=VALUE,VALUE or SETTING=FIRST:LAST:STEP')
    if match := RANGE.fullmatch(values):
        found = _range(text, *match.groups())
    else:
        found = {}
        for word in values.split(','):
            (value,) = parse_settings([f'value={word}']).values()
            found[word] = value
    if name == 'background':
        return Axis(name, 'model.class_names', {word: class_names(word, dataset) for word in found})
    if name == 'templates':
        return Axis(name, 'model.templates', {word: TEMPLATES.get(word, word) for word in found})
    return Axis(name, name if '.' in name else f'model.{name}', found)


def _range(text: str, *ends: str) -> dict[str, float]:
    try:
        first, last, step = map(float, ends)
        count = int((last - first) / step + 1e-9) + 1 if step > 0 else 0
    except (ValueError, OverflowError):
        count = 0
    if count < 1:
        raise BenchError(f'"{text}": a range is FIRST:LAST:STEP, numbers that rise, as prob_thd=0:0.6:0.05')
    # Rounded: 0.05 a step is 0.15 after three.
    values = (round(first + place * step, 10) for place in range(count))
    return {f'{value:g}': int(value) if value.is_integer() and step.is_integer() else value for value in values}


def class_names(whose: str, dataset: str) -> str:
    """The class names that a method's authors run on a dataset, ``none`` of it, or a bundled file's own name.

    Raises:
        BenchError: there are none; says what there is.
    """
    bundled = {path.stem for path in CLASS_NAMES.glob('*.txt')}
    if f'none_{dataset}' in bundled and whose == 'none':
        return f'none_{dataset}'
    official = f'official/{whose}_{dataset}'
    if official in config_names():
        return load_config(official).model.class_names
    if whose in bundled:
        return whose
    ending = f'_{dataset}'
    known = {name.removeprefix('official/').removesuffix(ending) for name in config_names() if name.endswith(ending)}
    known = {name for name in known if f'official/{name}{ending}' in config_names()}
    known |= {'none'} & {name.removesuffix(ending) for name in bundled if name.endswith(ending)}
    known |= {name for name in bundled if name.endswith(dataset)}
    raise BenchError(f'there are no class names of {whose} for {dataset}{did_you_mean(whose, known)}')


def make_sweep(name: str, config: Config, axes: Sequence[Axis], options: Options) -> Plan:
    """A plan of one table, a row for each combination of values.

    Args:
        name: of the config, or its path.
        config: it, read.
        axes: the first that holds numbers is what curves run along.

    Raises:
        BenchError: one setting stands in two axes, or one does not fit the config.
    """
    settings = [axis.setting for axis in axes]
    twice = next((setting for setting in settings if settings.count(setting) > 1), None)
    if twice:
        raise BenchError(f'{twice} is swept twice; give all of its values at once')
    along = next((axis for axis in axes if axis.is_number), axes[0])
    others = [axis for axis in axes if axis is not along]
    rows, leaves, cells = [], {}, []
    for labels in product(*(axis.values for axis in (*others, along))):
        chosen = dict(zip((*others, along), labels, strict=True))
        changed = {axis.setting: axis.values[label] for axis, label in chosen.items()}
        conditions = '; '.join(f'{axis.name}={chosen[axis]}' for axis in others)
        rows.append(Row(f'{along.name}={chosen[along]}', conditions, overrides=changed))
        leaf = leaf_of(name, changed, options, leaves)
        cells.append(Cell('own/sweep', rows[-1], config.dataset, 'mIoU', None, (leaf,)))
    title = (
        f'sweep of {name if name in config_names() else Path(name).stem} over {", ".join(axis.name for axis in axes)}'
    )
    spec = TableSpec('own/sweep', title, tuple(rows), (config.dataset,), mean=False)
    return Plan(cells, passes_of(leaves.values()), {spec.key: spec})


def sweep_report(plan: Plan, results: Mapping[Leaf, Result], options: Options) -> Report:
    """The table of a sweep; its numbers are marked where the images may be those that the benchmark scores."""
    report = make_report(plan, results, list(plan.tables.values()), options)
    for block in report.blocks:
        for number in block.numbers():
            if number.result is not None and is_scored(number.cell.leaves[0], number.result):
                number.marks += 'T'
    return report


def is_scored(leaf: Leaf, result: Result) -> bool:
    """Some of the images are in the official list of what is scored, or there is no list that would tell."""
    split = leaf.config.get('split')
    return not split or not {Path(name).name for name in result.cells}.isdisjoint(official_list(split))


def print_sweep(report: Report) -> None:
    """A line for each combination, with its interval; the highest of each curve, and of all, are said."""
    console = screen()
    for block in report.blocks:
        (dataset,) = block.datasets
        highest: dict[str, Number] = {}
        for line in block.lines:
            number = line.numbers[dataset]
            if number.ours is not None and number.ours > getattr(highest.get(line.settings), 'ours', -1):
                highest[line.settings] = number
        best = max(highest.values(), key=lambda number: number.ours, default=None)
        names = ('setting', 'with', block.metric, '95 % interval', '')
        columns = [Column(name, justify='right' if name == block.metric else 'left', no_wrap=True) for name in names]
        table = Table(*columns, title=block.title, title_justify='left', box=box.SIMPLE_HEAD)
        for line in block.lines:
            number = line.numbers[dataset]
            value = '-' if number.ours is None else f'{number.ours:.{block.digits}f} {number.marks}'.strip()
            ends = ' to '.join(f'{end:.{block.digits}f}' for end in number.interval or ())
            is_best = 'highest of all' if number is best else 'highest' if number in highest.values() else ''
            table.add_row(line.row.name, line.settings, value, ends, is_best)
        print_whole(console, table)
        for note in block.notes():
            console.print(note, markup=False)
    if report.marks():
        console.print('\n[bold red]NOT THE BENCHMARK[/bold red]')
        for mark, meaning in report.marks().items():
            console.print(f'[bold red]{mark}[/bold red] {meaning}')
