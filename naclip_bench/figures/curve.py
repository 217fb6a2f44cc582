"""A table whose rows are values of one setting as a curve: sigma of NACLIP's Fig. 5, and any like it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import BenchError
from ..tables.report import Block, Line
from .canvas import COLORS, MARKERS, SMALL, TEXT, label, new_figure
from .numbers import axis_of, datasets_of, is_random, lines_of, shown, title_of

if TYPE_CHECKING:
    from .canvas import Figure

#: A row's name that is a value of one setting: ``sigma=5``, ``CS from block 7``.
VALUE = re.compile(r'([A-Za-z][\w :]*?)[= ]\s*(\d+(?:\.\d+)?)')

ACROSS = 4


def points_of(block: Block) -> dict[float, list[Line]]:
    """The rows of a block by the value of their one setting, in rising order; empty where some have none."""
    found: dict[float, list[Line]] = {}
    names = set()
    for line in lines_of(block):
        match = VALUE.fullmatch(line.row.name)
        if match is None:
            return {}
        names.add(match[1])
        found.setdefault(float(match[2]), []).append(line)
    return dict(sorted(found.items())) if len(names) == 1 else {}


def draw_curve(block: Block) -> Figure:
    """A panel for each dataset and a line for each of the rows' conditions, its highest value in numbers.

    Raises:
        BenchError: the rows are not values of one setting.
    """
    points = points_of(block)
    if not points:
        raise BenchError(
            f'the rows of {block.spec.key} are not values of one setting, as "sigma=5" is; draw bars, or name such rows'
        )
    name = VALUE.fullmatch(next(iter(points.values()))[0].row.name)[1]
    # What tells rows of one value apart; a setting that each value has once tells nothing.
    conditions = list(dict.fromkeys(line.settings for lines in points.values() for line in lines))
    if max(map(len, points.values())) == 1:
        conditions = ['']
    datasets = datasets_of(block)
    across = min(len(datasets), ACROSS)
    down = -(-len(datasets) // across)
    figure = new_figure(max(2.7 * across, 5.5), 0.8 + 2.3 * down, title_of(block), is_random(block))
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat[len(datasets) :]:
        axis.set_axis_off()
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        for place, condition in enumerate(conditions):
            numbers = {
                value: line.numbers.get(dataset)
                for value, lines in points.items()
                for line in lines
                if not condition or line.settings == condition
            }
            numbers = {value: number for value, number in numbers.items() if shown(number) is not None}
            if not numbers:
                continue
            color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
            values = [shown(number) for number in numbers.values()]
            axis.plot(
                [*numbers], values, color=color, marker=marker, markersize=4, linewidth=1.6, label=condition or None
            )
            best = max(numbers, key=lambda value: shown(numbers[value]))
            axis.annotate(
                f'{shown(numbers[best]):.{block.digits}f}',
                (best, shown(numbers[best])),
                # The first above its line, the others below theirs.
                xytext=(0, -5 if place else 5),
                textcoords='offset points',
                fontsize=SMALL,
                ha='center',
                va='top' if place else 'bottom',
                color=color,
            )
        if len(points) <= 12:
            axis.set_xticks([*points], [f'{value:g}' for value in points])
        axis.margins(y=0.2)
        label(axis, dataset, name, axis_of(block))
    if conditions != ['']:
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside lower center', ncols=4, fontsize=TEXT, frameon=False)
    return figure
