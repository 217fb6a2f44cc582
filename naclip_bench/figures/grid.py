"""A table whose rows are values of two settings as a grid: eps and min_samples of CLIPtrase's Fig. 7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BenchError
from ..tables.report import Block
from ..tables.tables import Row, TableSpec
from .canvas import SMALL, TEXT, label, new_figure
from .numbers import axis_of, datasets_of, is_random, lines_of, shown, title_of

if TYPE_CHECKING:
    from .canvas import Figure

#: A row's name that is a value of two settings.
VALUES = re.compile(r'(\w+)=(\d+(?:\.\d+)?) (\w+)=(\d+(?:\.\d+)?)')

#: The values drawn where none are asked for, around the paper's 0.7 and 3; it does not print its own.
EPS, MIN_SAMPLES = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3), (1, 3, 5, 7, 9)

ACROSS = 3


def clustering(
    datasets: Sequence[str],
    eps: Sequence[float] = EPS,
    min_samples: Sequence[int] = MIN_SAMPLES,
    config: str = 'official/cliptrase_{dataset}_224',
) -> TableSpec:
    """CLIPtrase under every pair of DBSCAN's settings, as a table.

    Args:
        datasets: their keys.
        eps, min_samples: values.
        config: name with ``{dataset}`` in it; what the authors run at 224 pixels, unless given.
    """
    rows = tuple(
        Row(
            f'eps={of:g} min_samples={count}',
            config=config,
            overrides={'model.eps': of, 'model.min_samples': count},
        )
        for of, count in product(eps, min_samples)
    )
    return TableSpec('own/clustering', "CLIPtrase under DBSCAN's settings", rows, tuple(datasets), mean=False)


def places_of(block: Block) -> dict[tuple[float, float], object]:
    """The rows of a block by the values of their two settings; empty where some have none."""
    found = {}
    for line in lines_of(block):
        match = VALUES.fullmatch(line.row.name)
        if match is None:
            return {}
        found[float(match[2]), float(match[4])] = line
    return found


def draw_grid(block: Block) -> Figure:
    """A panel for each dataset: the first setting across, the second up, the value in its cell.

    Raises:
        BenchError: the rows are not values of two settings.
    """
    places = places_of(block)
    if not places:
        raise BenchError(f'the rows of {block.spec.key} are not values of two settings, as "eps=0.7 min_samples=3" is')
    match = VALUES.fullmatch(next(iter(places.values())).row.name)
    across_values, up_values = (sorted(set(axis)) for axis in zip(*places, strict=True))
    datasets = datasets_of(block)
    across = min(len(datasets), ACROSS)
    down = -(-len(datasets) // across)
    size = (max(0.62 * len(across_values) + 1.7, 3.2) * across, (0.42 * len(up_values) + 1.0) * down + 0.6)
    figure = new_figure(max(size[0], 6), size[1], title_of(block), is_random(block))
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat[len(datasets) :]:
        axis.set_axis_off()
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        values = np.full((len(up_values), len(across_values)), np.nan)
        for (first, second), line in places.items():
            value = shown(line.numbers.get(dataset))
            if value is not None:
                values[up_values.index(second), across_values.index(first)] = value
        low, high = np.nanmin(values), np.nanmax(values)
        drawn = axis.imshow(values, 'viridis', vmin=low, vmax=high, origin='lower', aspect='auto')
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                dark = value < (low + high) / 2
                weight = 'bold' if value == high else 'normal'
                axis.text(
                    column,
                    row,
                    f'{value:.1f}',
                    fontsize=SMALL,
                    ha='center',
                    va='center',
                    color='white' if dark else 'black',
                    weight=weight,
                )
        axis.set_xticks(range(len(across_values)), [f'{value:g}' for value in across_values])
        axis.set_yticks(range(len(up_values)), [f'{value:g}' for value in up_values])
        label(axis, dataset, match[1], match[3])
        bar = figure.colorbar(drawn, ax=axis)
        bar.set_label(axis_of(block), fontsize=TEXT)
        bar.ax.tick_params(labelsize=SMALL)
    return figure
