"""Scenes of materials: regions of all shapes and sizes on a ground, light and noise over them, and their exact mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from .textures import GROUNDS, MATERIALS, Texture, step

TEXTURES, BACKDROPS = tuple(MATERIALS), tuple(GROUNDS)

#: First part of every seed, by what the scene is for: no training scene is ever one of the test.
TEST, TRAINING, VALIDATION = 0, 1, 2

#: Seed of the scenes with a single material; far behind the images'.
SINGLE = 2**32 - 1

#: Paints rows and columns of a texture: (texture, rng, rows, columns) to (h, w, 3). Half-open ranges in pixels.
Paint = Callable[[Texture, Generator, tuple[int, int], tuple[int, int]], ndarray]


@dataclass(frozen=True)
class Scene:
    """A drawn image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W) uint8: 0 is the ground, k the k-th material.
        ground: which of ``BACKDROPS`` it is.
    """

    image: ndarray
    labels: ndarray
    ground: int

    def seen(self, share: float = 0.02) -> list[int]:
        """Materials (from 0) that cover at least ``share`` of the image."""
        counts = np.bincount(self.labels.ravel(), minlength=len(TEXTURES) + 1)[1:]
        return np.flatnonzero(counts >= share * self.labels.size).tolist()


def paint_afresh(scale: float = 1.0) -> Paint:
    """Every region with a pattern, a turn and a size of its own; ``scale`` pixels are drawn for one."""

    def paint(texture: Texture, rng: Generator, rows: tuple[int, int], columns: tuple[int, int]) -> ndarray:
        angle, size = rng.uniform(-0.35, 0.35), scale * np.exp(rng.uniform(-0.25, 0.25))
        x, y = np.arange(*columns)[None] / size, np.arange(*rows)[:, None] / size
        shift = rng.uniform(0, 64, 2)
        u, v = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        return texture(rng, u + shift[0], v + shift[1])

    return paint


def draw_scene(
    rng: Generator,
    height: int,
    width: int,
    regions: int,
    paint: Paint | None = None,
    scale: float = 1.0,
) -> Scene:
    """Draw a scene; the same generator state gives the same bytes.

    Args:
        height, width: of the image in pixels.
        regions: how many are laid over each other, each of another material; later ones may cover earlier ones.
        paint: where patterns come from; None: each drawn afresh.
        scale: pixels of the image for one of the design, for figures finer than the benchmark's own images.
    """
    paint = paint or paint_afresh(scale)
    ground = int(rng.integers(len(BACKDROPS)))
    image = paint(BACKDROPS[ground], rng, (0, height), (0, width)) * rng.uniform(0.85, 1.1)
    labels = np.zeros((height, width), np.uint8)
    for place, index in enumerate(rng.choice(len(TEXTURES), regions, replace=False)):
        inside, rows, columns = _shape(rng, height, width, scale, first=not place)
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            continue
        window = slice(*rows), slice(*columns)
        below = image[window]
        # A shadow two pixels down and right of the edge, then the region itself, its edge softened over one pixel.
        offset = round(2 * scale)
        shadow = 1 - 0.4 * step(inside, -3.0, 1.5)
        below[offset:, offset:] *= shadow[: -offset or None, : -offset or None, None]
        pattern = paint(TEXTURES[index], rng, rows, columns)
        pattern *= rng.uniform(0.8, 1.1) + rng.uniform(-0.05, 0.05, 3)
        below += np.clip(inside * scale + 0.5, 0, 1)[..., None] * (pattern - below)
        labels[window][inside > 0] = index + 1
    return Scene(_light(rng, image), labels, ground)


def single_scenes(count: int, size: int, part: int = TEST) -> list[Scene]:
    """Scenes of ``size`` x ``size`` pixels that show one material each, to be classified."""
    rng, scenes = np.random.default_rng([part, SINGLE]), []
    while len(scenes) < count:
        scene = draw_scene(rng, size, size, 1)
        scenes += [scene] if scene.seen() else []
    return scenes


def _shape(
    rng: Generator, height: int, width: int, scale: float, first: bool
) -> tuple[ndarray, tuple[int, int], tuple[int, int]]:
    """About how many of the design's pixels a place is inside a region, on the rows and columns that it touches."""
    kind = rng.random() * (1.0 if first else 0.85)  # half a plane would hide what came before it
    size = scale * np.exp(rng.uniform(np.log(7), np.log(42)))
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    reach = 1.6 * size + 5 * scale if kind < 0.85 else height + width
    rows = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    columns = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    across, down = (np.arange(*columns)[None] - x) / scale, (np.arange(*rows)[:, None] - y) / scale
    size, angle = size / scale, rng.uniform(0, 2 * np.pi)
    u, v = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
    if kind < 0.55:  # a blob: a circle whose radius swings
        theta = np.arctan2(v, u)
        swing = sum(rng.uniform(0, 0.42 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        inside = size * (1 + swing) - np.hypot(u, v)
    elif kind < 0.85:  # a box with rounded corners
        sides = size * rng.uniform(0.45, 1.0, 2)
        corner = sides.min() * rng.uniform(0.1, 0.9)
        beyond = np.hypot(np.maximum(np.abs(u) - sides[0] + corner, 0), np.maximum(np.abs(v) - sides[1] + corner, 0))
        inside = corner - beyond
    else:  # everything on one side of a wavy line
        length, depth = rng.uniform(8, 25), rng.uniform(0, 5)
        inside = v + depth * np.sin(u / length + rng.uniform(0, 2 * np.pi))
    return inside, rows, columns


def _light(rng: Generator, image: ndarray) -> ndarray:
    """Light that falls off to one side, a tint, and grain; to bytes."""
    height, width = image.shape[:2]
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    light = rng.uniform(0.85, 1.1) + fall * (np.cos(angle) * x + np.sin(angle) * y)
    image *= light[..., None] * (1 + rng.uniform(-0.06, 0.06, 3))
    image += rng.uniform(0.0, 0.03) * rng.standard_normal(image.shape)
    return np.uint8(np.clip(np.rint(255 * image), 0, 255))
