"""A table as bars with their intervals: a panel for each dataset, a bar for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..tables.report import Block, text
from .canvas import COLORS, SMALL, TEXT, label, new_figure
from .numbers import axis_of, datasets_of, is_random, lines_of, shown, title_of

if TYPE_CHECKING:
    from .canvas import Figure

#: Panels beside each other.
ACROSS = 4


def draw_bars(block: Block) -> Figure:
    """Our values with the 95 % interval over images, and the paper's as a diamond; its alone are hatched."""
    datasets, lines = datasets_of(block), lines_of(block)
    across = min(len(datasets), ACROSS)
    down = -(-len(datasets) // across)
    names = [line.label for line in lines]
    left = 0.065 * max(map(len, names)) + 0.3
    size = (left + 2.4 * across + 0.4 * (across == 1), 0.9 + down * (0.65 + 0.21 * len(lines)))
    figure = new_figure(max(size[0], 5.5), size[1], title_of(block), is_random(block))
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    places = range(len(lines))
    with_paper = any(number.paper is not None for number in block.numbers())
    for axis in axes.flat[len(datasets) :]:
        axis.set_axis_off()
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        numbers = [line.numbers.get(dataset) for line in lines]
        highest = max(
            max(shown(number) or 0, number.paper or 0, (number.interval or (0, 0))[1]) for number in numbers if number
        )
        for place, number in zip(places, numbers, strict=True):
            value = shown(number)
            if value is None:
                continue
            ours = number.ours is not None
            axis.barh(
                place,
                value,
                0.72,
                color=COLORS[0] if ours else 'white',
                edgecolor=COLORS[0],
                hatch=None if ours else '////',
                alpha=0.75,
                label='ours' if ours else "the paper's",
            )
            reach = value
            if number.interval is not None:
                low, high = number.interval
                axis.plot([low, high], [place, place], color='black', linewidth=1.4, label='95 % interval')
                reach = max(reach, high)
            if ours and number.paper is not None:
                axis.plot(
                    number.paper, place, 'D', color=COLORS[1], markeredgecolor='black', markersize=5, label='paper'
                )
                reach = max(reach, number.paper)
            words = text(value, block.digits)
            if ours and number.paper is not None:
                words += f' (paper {number.paper_text})'
            axis.text(reach + 0.03 * highest, place, words, fontsize=SMALL, va='center')
        # Room for the words.
        beside = any(number and None not in (number.ours, number.paper) for number in numbers)
        axis.set_xlim(0, (1.75 if beside else 1.25) * highest or 1)
        axis.set_yticks(places, names, fontsize=SMALL)
        axis.set_ylim(len(lines) - 0.4, -0.6)
        label(axis, dataset, axis_of(block))
    entries = {}
    for axis in axes.flat:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if with_paper or len(entries) > 1:
        figure.legend(
            entries.values(), entries.keys(), loc='outside lower center', ncols=4, fontsize=TEXT, frameon=False
        )
    return figure
