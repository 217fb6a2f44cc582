"""Rows of a table over many datasets at once (CLIPtrase Fig. 1a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import BenchError
from ..tables.report import Block, Line, text
from .canvas import COLORS, MARKERS, SMALL, TEXT, new_figure
from .numbers import datasets_of, is_random, lines_of, shown, title_of

if TYPE_CHECKING:
    from .canvas import Figure

#: What spans the figure where there are too few datasets.
METRICS = ('mIoU', 'mAcc', 'aAcc')

#: Lines that an eye can follow.
MOST = 7


def spokes_of(block: Block) -> list[tuple[str, str]]:
    """(dataset, metric) of each axis: the datasets; where these are fewer than three, with several metrics each."""
    datasets = datasets_of(block)
    if len(datasets) > 2:
        return [(dataset, block.metric) for dataset in datasets]
    return [(dataset, metric) for dataset in datasets for metric in METRICS]


def value_at(block: Block, line: Line, spoke: tuple[str, str]) -> float | None:
    dataset, metric = spoke
    number = line.numbers.get(dataset)
    if metric == block.metric or number is None or number.result is None:
        return shown(number) if metric == block.metric else None
    return number.result.record['metrics'].get(metric)


def draw_radar(block: Block) -> Figure:
    """A line for each row that has a value on every axis; an axis ends at its highest value, which stands beside it.

    Raises:
        BenchError: fewer than three axes, or no row that has all of them, or more rows than an eye can follow.
    """
    spokes = spokes_of(block)
    values = {line.label: [value_at(block, line, spoke) for spoke in spokes] for line in lines_of(block)}
    whole = {name: np.array(of, float) for name, of in values.items() if None not in of}
    if len(spokes) < 3 or not whole:
        raise BenchError(f'{block.spec.key} has no row with a value on three datasets or more, which span the figure')
    if len(whole) > MOST:
        raise BenchError(f'{len(whole)} rows of {block.spec.key} in one figure; choose at most {MOST} of them')
    highest = np.max([*whole.values()], axis=0)
    figure = new_figure(7, 5.6, title_of(block), is_random(block))
    axis = figure.add_subplot(projection='polar')
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    around = [*angles, angles[0]]
    for place, (name, of) in enumerate(whole.items()):
        share = of / np.maximum(highest, 1e-9)
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        axis.plot(around, [*share, share[0]], color=color, marker=marker, markersize=4, linewidth=1.6, label=name)
        axis.fill(around, [*share, share[0]], color=color, alpha=0.06)
    axis.set_theta_offset(np.pi / 2)
    axis.set_theta_direction(-1)
    several = len({metric for _, metric in spokes}) > 1
    names = [
        f'{dataset}{f" {metric}" if several else ""}\n{text(top, block.digits)} %'
        for (dataset, metric), top in zip(spokes, highest.tolist(), strict=True)
    ]
    axis.set_xticks(angles, names, fontsize=TEXT)
    for tick, angle in zip(axis.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)
        tick.set_horizontalalignment('center' if abs(side) < 0.2 else 'left' if side > 0 else 'right')
    axis.spines['polar'].set_visible(False)
    # Between two axes.
    axis.set_rlabel_position(np.degrees(angles[1] / 2))
    axis.set_yticks([0.25, 0.5, 0.75, 1], ['', '50 %', '', '100 %'], fontsize=SMALL, color='#555555')
    axis.set_ylim(0, 1.02)
    figure.legend(loc='outside lower center', ncols=3, fontsize=TEXT, frameon=False)
    return figure
