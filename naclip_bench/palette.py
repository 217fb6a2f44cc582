"""Colors of classes: a dataset's own, or else ones that are easily told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

#: Twelve colors of which no two are within a CIEDE2000 difference of 20, whether seen by all or by deuteranopes and
#: protanopes (Machado 2009 and Viénot 1999); found by simulated annealing over sRGB, ordered by hand.
DISTINCT = (
    (30, 101, 192),
    (142, 255, 0),
    (166, 75, 0),
    (10, 245, 255),
    (101, 0, 0),
    (145, 173, 99),
    (8, 0, 148),
    (165, 255, 207),
    (5, 106, 96),
    (17, 165, 255),
    (53, 3, 31),
    (75, 161, 153),
)

#: Of the class ``background``, which overlays leave bare.
BACKGROUND = (128, 128, 128)


def is_background(name: str) -> bool:
    """Tell whether a class is what no other class is."""
    return name.strip().lower() == 'background'


def distinct_colors(count: int) -> np.ndarray:
    """Colors (count, 3) uint8, RGB: :data:`DISTINCT`, and behind them always the one farthest from all before it."""
    chosen = [np.array(color) for color in DISTINCT]
    levels = np.linspace(0, 255, 16).round()
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), -1).reshape(-1, 3)
    candidates, known = _lab(grid), _lab(np.array(DISTINCT))
    nearest = np.linalg.norm(candidates[:, None] - known, axis=-1).min(1)
    while len(chosen) < count:
        # Rounded, so that another processor's last digits choose no other color.
        best = int(nearest.round(3).argmax())
        chosen.append(grid[best])
        nearest = np.minimum(nearest, np.linalg.norm(candidates - candidates[best], axis=-1))
    return np.array(chosen[:count], np.uint8).reshape(-1, 3)


def colors_of_names(names: Sequence[str]) -> np.ndarray:
    """Colors (C, 3) uint8 of classes that have none: :func:`distinct_colors`, and gray for ``background``."""
    behind = [is_background(name) for name in names]
    colors = np.full((len(names), 3), BACKGROUND, np.uint8)
    colors[~np.array(behind, bool)] = distinct_colors(behind.count(False))
    return colors


def dataset_palette(metainfo: Mapping[str, object]) -> np.ndarray:
    """Colors (C, 3) uint8 of a dataset's classes: its own where it has some that tell all classes apart.

    Args:
        metainfo: of an mmseg dataset. Where a dataset has no palette, mmseg puts random colors there, the same for all
            datasets of as many classes; these do not count.
    """
    names, own = metainfo['classes'], [tuple(color) for color in metainfo.get('palette') or ()]
    random = np.random.RandomState(42).randint(0, 255, size=(len(names), 3))
    if len(set(own)) < len(names) or own == list(map(tuple, random.tolist())):
        return colors_of_names(names)
    return np.array(own, np.uint8)


def _lab(colors: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.float32(colors)[None] / 255, cv2.COLOR_RGB2LAB)[0].astype(np.float64)
