"""What all figures share: size, colors that color-blind readers tell apart, maps over an image, and their files."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..optional import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colors without black, which is for text, and yellow, which is too light for lines.
COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#56B4E9', '#666666')

#: Behind the colors, what else tells lines apart.
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')

#: A scale that gets lighter all the way, for weights; one with white in the middle, for what has a sign.
HEAT, SIGNED = 'inferno', 'RdBu_r'

#: How far a map covers the image below it.
OPACITY = 0.75

#: Points, and pixels per inch of a PNG.
TEXT, SMALL, DPI = 9, 7.5, 150

#: Characters of a title in an inch of the figure's width.
AN_INCH = 12.5

#: What stands over a figure of weights that were not trained.
RANDOM = 'RANDOM WEIGHTS: this figure means nothing'


def new_figure(width: float, height: float, title: str = '', random_weights: bool = False) -> Figure:
    """An empty figure of ``width`` x ``height`` inches under a title.

    Raises:
        BenchError: there is no matplotlib.
    """
    figure = needed('matplotlib.figure', 'report', 'a figure').Figure(
        figsize=(width, height), dpi=DPI, layout='constrained'
    )
    lines = [*title.split('\n'), *([RANDOM] if random_weights else [])]
    lines = [part for line in lines for part in textwrap.wrap(line, int(AN_INCH * width))]
    if lines:
        figure.suptitle('\n'.join(lines), fontsize=TEXT + 1, color='#B00000' if random_weights else 'black')
    return figure


def label(axis: Axes, title: str = '', x: str = '', y: str = '') -> None:
    """Title and units of a chart, and a frame that is no louder than what it holds."""
    axis.set_title(title, fontsize=TEXT)
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(y, fontsize=TEXT)
    axis.tick_params(labelsize=SMALL)
    axis.spines[['top', 'right']].set_visible(False)


def bare(axis: Axes, image: np.ndarray, title: str = '') -> None:
    """An image (H, W, 3) without axes."""
    axis.imshow(image)
    axis.set_title(title, fontsize=TEXT)
    axis.set_axis_off()


def heat(
    axis: Axes,
    image: np.ndarray,
    values: np.ndarray,
    seen: tuple[float, float],
    limits: tuple[float, float] | None = None,
    colors: str = HEAT,
) -> None:
    """A map (h, w) of patches over an image (H, W, 3).

    Args:
        seen: (height, width) in the image's pixels that the patches cover, from the left upper corner.
        limits: values of the scale's ends; from 0 to the highest unless given.
    """
    low, high = limits or (0, max(float(values.max()), np.finfo(np.float32).tiny))
    axis.imshow(image)
    bottom, right = (side - 0.5 for side in seen)
    where = (-0.5, right, bottom, -0.5)
    axis.imshow(values, colors, alpha=OPACITY, vmin=low, vmax=high, extent=where, interpolation='bilinear')
    height, width = image.shape[:2]
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axis.set_axis_off()


def mark(axis: Axes, x: float, y: float) -> None:
    """A cross that is seen on dark and on light."""
    axis.plot(x, y, marker='x', color='black', markersize=9, markeredgewidth=3.5)
    axis.plot(x, y, marker='x', color='cyan', markersize=8, markeredgewidth=1.6)


def outline(axis: Axes, x: float, y: float, height: float, width: float) -> None:
    """A frame around (x, y) that is seen on dark and on light."""
    rectangle = needed('matplotlib.patches', 'report', 'a figure').Rectangle
    for color, line in (('black', 2.6), ('white', 1.2)):
        axis.add_patch(
            rectangle((x - width / 2, y - height / 2), width, height, fill=False, edgecolor=color, linewidth=line)
        )


def below(axis: Axes, text: str) -> None:
    """A line of numbers under a panel."""
    axis.text(0.5, -0.02, text, fontsize=SMALL, ha='center', va='top', transform=axis.transAxes)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as ``stem``.png and ``stem``.svg; the same figure gives the same files."""
    paths = [stem.with_name(f'{stem.name}.{kind}') for kind in ('png', 'svg')]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(paths[0])
    paths[1].write_text(as_svg(figure), encoding='utf-8')
    return paths


def as_svg(figure: Figure) -> str:
    """A figure as SVG, without a date; its text is text."""
    file = io.StringIO()
    settings = {'svg.hashsalt': 'naclip_bench', 'svg.fonttype': 'none'}
    with needed('matplotlib', 'report', 'a figure').rc_context(settings):
        figure.savefig(file, format='svg', metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')))
    return file.getvalue()
