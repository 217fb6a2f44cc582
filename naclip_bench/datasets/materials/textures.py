"""What each material of the Materials benchmark looks like, drawn from random numbers.

A texture is a function of (rng, u, v): ``u`` to the right and ``v`` down, (H, W) float64 in pixels, already turned and
scaled; it returns (H, W, 3), RGB in about 0..1. Everything is float64, so that no machine's rounding shows in a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray
from numpy.random import Generator

Texture = Callable[[Generator, ndarray, ndarray], ndarray]

#: Side of the lattices of random numbers; a pattern repeats after so many of its periods.
LATTICE = 64


def noise(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """Smooth value noise in 0..1 whose features are about one unit of ``u`` and ``v`` wide."""
    values = rng.random((LATTICE + 1, LATTICE + 1))
    values[-1], values[:, -1] = values[0], values[:, 0]
    column, row = np.floor(u), np.floor(v)
    x, y = u - column, v - row
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    place = (row.astype(np.int64) % LATTICE) * (LATTICE + 1) + column.astype(np.int64) % LATTICE
    flat = values.ravel()
    above = flat[place] + x * (flat[place + 1] - flat[place])
    below = flat[place + LATTICE + 1] + x * (flat[place + LATTICE + 2] - flat[place + LATTICE + 1])
    return above + y * (below - above)


def layered(rng: Generator, u: ndarray, v: ndarray, layers: int = 2) -> ndarray:
    """Noise of falling period and weight, in 0..1."""
    weights = 0.5 ** np.arange(layers)
    total = sum(weight * noise(rng, u * 2.1**layer, v * 2.1**layer) for layer, weight in enumerate(weights))
    return total / weights.sum()


def cells(rng: Generator, u: ndarray, v: ndarray, jitter: float = 0.8) -> tuple[ndarray, ndarray, ndarray]:
    """Voronoi cells about one unit wide: distances to the nearest and second nearest seed, and a value a cell."""
    seeds = 0.5 + jitter * (rng.random((LATTICE, LATTICE, 2)) - 0.5)
    values = rng.random((LATTICE, LATTICE))
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    first, second, value = np.full(u.shape, 9.0), np.full(u.shape, 9.0), np.zeros(u.shape)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            x, y = column + right, row + down
            seed = seeds[y % LATTICE, x % LATTICE]
            distance = (x + seed[..., 0] - u) ** 2 + (y + seed[..., 1] - v) ** 2
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            value = np.where(nearer, values[y % LATTICE, x % LATTICE], value)
            first = np.where(nearer, distance, first)
    return np.sqrt(first), np.sqrt(second), value


def step(x: ndarray, low: float, high: float) -> ndarray:
    """0 under ``low``, 1 over ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ramp(x: ndarray, *colors: Sequence[float]) -> ndarray:
    """Colors (0..255) at evenly spaced places of 0..1, mixed linearly between."""
    places = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(x, places, channel) for channel in np.array(colors, float).T / 255], axis=-1)


def mix(below: ndarray, above: ndarray | Sequence[float], weight: ndarray) -> ndarray:
    above = above if isinstance(above, np.ndarray) else np.array(above) / 255
    return below + weight[..., None] * (above - below)


def grid(u: ndarray, v: ndarray, width: float, height: float, shift: float = 0.0) -> tuple[ndarray, ...]:
    """Cells of rows, each row shifted by ``shift`` of a cell against the last: column, row, and x, y in 0..1."""
    row = np.floor(v / height)
    across = u / width + shift * (row % 2)
    column = np.floor(across)
    return column, row, across - column, v / height - row


def at(rng: Generator, column: ndarray, row: ndarray) -> ndarray:
    """A random value in 0..1 for each cell of a grid."""
    return rng.random((LATTICE, LATTICE))[row.astype(np.int64) % LATTICE, column.astype(np.int64) % LATTICE]


def border(x: ndarray, y: ndarray, width: float, height: float) -> ndarray:
    """Distance in pixels to the border of a grid's cell."""
    return np.minimum(np.minimum(x, 1 - x) * width, np.minimum(y, 1 - y) * height)


# ---- materials


def brick(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    column, row, x, y = grid(u, v, 14, 6.5, 0.5)
    clay = ramp(
        0.7 * at(rng, column, row) + 0.3 * noise(rng, u / 2, v / 2), (128, 44, 30), (186, 78, 52), (206, 110, 76)
    )
    return mix(np.full_like(clay, 0.78), clay, step(border(x, y, 14, 6.5), 0.3, 1.1))


def grass(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    bend = 3 * noise(rng, u / 9, v / 9)
    blades = 0.65 * noise(rng, (u + bend) / 1.4, v / 7) + 0.35 * layered(rng, u / 12, v / 12)
    return ramp(step(blades, 0.2, 0.8), (18, 62, 14), (62, 132, 32), (150, 196, 74))


def water(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    wave = v * 0.75 + 5 * noise(rng, u / 13, v / 7) + 2 * noise(rng, u / 5, v / 4)
    crest = 0.5 + 0.5 * np.sin(wave)
    return mix(ramp(crest, (8, 58, 120), (22, 104, 172), (60, 156, 206)), (222, 244, 252), step(crest, 0.9, 1.0))


def wood(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    plank = np.floor(v / 13)
    tone = at(rng, plank * 0, plank)
    along = v + 7 * noise(rng, u / 40, v / 9 + 9 * tone) + 30 * tone
    grain = 0.5 + 0.5 * np.sin(along * 1.7 + 1.5 * noise(rng, u / 8, v / 3))
    color = ramp(
        0.55 * grain + 0.3 * tone + 0.15 * noise(rng, u / 9, v / 1.2), (96, 54, 22), (158, 100, 48), (204, 150, 88)
    )
    return mix(color, (52, 28, 12), 1 - step(border(0.5, v / 13 - plank, 99, 13), 0.2, 0.9))


def sand(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    ripple = 0.5 + 0.5 * np.sin(v * 0.62 + 3.5 * noise(rng, u / 16, v / 12))
    grains = noise(rng, u / 0.8, v / 0.8)
    return ramp(0.55 * ripple + 0.45 * grains, (188, 148, 92), (222, 186, 128), (244, 218, 166))


def snow(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    drift = layered(rng, u / 16, v / 9, 2)
    color = ramp(step(drift, 0.25, 0.7), (186, 204, 232), (228, 238, 250), (252, 253, 255))
    return mix(color, (255, 255, 255), step(noise(rng, u / 0.9, v / 0.9), 0.85, 0.95))


def lava(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    bend = 5 * noise(rng, u / 9, v / 9)
    first, second, _ = cells(rng, (u + bend) / 13, (v - bend) / 13)
    heat = 1 - step(second - first, 0.0, 0.42)
    crust = ramp(noise(rng, u / 2, v / 2), (26, 16, 16), (70, 44, 40))
    return mix(crust, ramp(heat, (120, 14, 4), (226, 64, 6), (255, 150, 20), (255, 238, 130)), step(heat, 0.08, 0.4))


def zebra(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    stripe = np.sin(u * 0.72 + 7 * noise(rng, u / 22, v / 22) + 2.5 * noise(rng, u / 8, v / 12))
    return ramp(step(stripe, -0.25, 0.25), (24, 22, 22), (240, 236, 228))


def tiger(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    fur = ramp(layered(rng, u / 2.5, v / 6), (204, 98, 18), (232, 138, 36), (246, 184, 88))
    stripe = np.sin(u * 0.5 + 8 * noise(rng, u / 18, v / 18)) - 1.6 * noise(rng, u / 9, v / 14) + 0.35
    return mix(fur, (22, 14, 10), step(stripe, 0.1, 0.35))


def leopard(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    first, _, value = cells(rng, (u + 2 * noise(rng, u / 4, v / 4)) / 10, (v + 2 * noise(rng, u / 4, v / 4)) / 10)
    fur = ramp(noise(rng, u / 3, v / 3), (206, 156, 84), (232, 192, 122))
    size = 0.28 + 0.14 * value
    fur = mix(fur, (160, 100, 42), 1 - step(first - size, -0.1, 0.02))
    return mix(
        fur, (38, 24, 14), step(0.13 - np.abs(first - size), 0.0, 0.05) * step(noise(rng, u / 3, v / 3), 0.22, 0.36)
    )


def chessboard(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    column, row, _, _ = grid(u, v, 8, 8)
    return ramp((column + row) % 2 * 0.97 + 0.03 * noise(rng, u, v), (22, 22, 26), (244, 244, 240))


def gold(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    fold = layered(rng, u / 15, v / 15) * 3.2
    shine = 0.5 + 0.5 * np.sin(2 * np.pi * fold)
    return ramp(shine, (112, 66, 6), (214, 154, 16), (252, 208, 60), (255, 250, 200))


def stone(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    first, second, value = cells(rng, u / 11, v / 11, 0.7)
    edge = second - first
    face = ramp(
        0.5 * value + 0.3 * noise(rng, u / 2, v / 2) + 0.2 * step(edge, 0, 0.6),
        (92, 94, 98),
        (146, 146, 144),
        (186, 184, 178),
    )
    return mix(face, (44, 44, 42), 1 - step(edge, 0.05, 0.2))


def sky(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    blue = ramp(0.5 + 0.3 * noise(rng, u / 70, v / 30), (58, 126, 214), (140, 190, 242))
    cloud = layered(rng, u / 21, v / 13, 3)
    return mix(blue, (252, 252, 254), step(cloud, 0.5, 0.72))


def tiles(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    column, row, x, y = grid(u, v, 10, 10)
    glaze = ramp(0.7 * at(rng, column, row) + 0.3 * (1 - y), (16, 122, 118), (42, 168, 158), (112, 206, 192))
    glaze = mix(glaze, (232, 252, 248), step(0.42 - np.hypot(x - 0.3, y - 0.28), 0.1, 0.4) * 0.7)
    return mix(np.full_like(glaze, 0.93), glaze, step(border(x, y, 10, 10), 0.4, 1.1))


def denim(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    twill = 0.5 + 0.5 * np.sin((u + v) * 1.9 + 0.8 * noise(rng, u / 4, v / 4))
    cloth = ramp(
        0.5 * twill + 0.3 * layered(rng, u / 14, v / 20) + 0.2 * noise(rng, u, v),
        (20, 30, 72),
        (50, 76, 136),
        (124, 150, 196),
    )
    seam = np.abs((v + 9) % 34 - 17)
    thread = (np.abs(seam - 2.2) < 0.7) & (u % 4 < 2.6)
    return mix(cloth, (222, 150, 60), thread * 1.0)


def honeycomb(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    size = 9.0
    height = size * np.sqrt(3)
    near = [
        np.stack(
            [(u - dx) / size - np.round((u - dx) / size), ((v - dy) - height * np.round((v - dy) / height)) / size]
        )
        for dx, dy in ((0, 0), (size / 2, height / 2))
    ]
    (ax, ay), (bx, by) = near
    inside = ax**2 + ay**2 < bx**2 + by**2
    x, y = np.abs(np.where(inside, ax, bx)), np.abs(np.where(inside, ay, by))
    edge = 0.5 - np.maximum(x, 0.5 * x + np.sqrt(0.75) * y)
    honey = ramp(
        0.5 * noise(rng, u / 9, v / 9) + 0.5 * step(edge, 0.05, 0.5), (196, 108, 6), (240, 164, 20), (255, 212, 90)
    )
    return mix(honey, (110, 58, 8), 1 - step(edge, 0.04, 0.12))


def marble(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    vein = np.abs(np.sin(0.11 * (u + v) + 5 * layered(rng, u / 17, v / 17, 3)))
    fine = np.abs(np.sin(0.2 * (u - v) + 6 * layered(rng, u / 11, v / 11, 2)))
    color = mix(
        ramp(layered(rng, u / 20, v / 20), (214, 212, 216), (248, 246, 244)),
        (122, 120, 132),
        0.5 * (1 - step(fine, 0, 0.22)),
    )
    return mix(color, (74, 74, 88), 1 - step(vein, 0, 0.25))


def polka_dots(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    _, _, x, y = grid(u, v, 11, 9.5, 0.5)
    cloth = ramp(noise(rng, u / 6, v / 6), (226, 66, 132), (242, 96, 158))
    return mix(cloth, (255, 250, 248), 1 - step(np.hypot((x - 0.5) * 11, (y - 0.5) * 9.5), 2.7, 3.5))


def tartan(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    def bands(x: ndarray) -> ndarray:
        place = x % 24
        cloth = ramp(step(np.abs(place - 12), 5.2, 6), (14, 84, 58), (186, 22, 30))
        cloth = mix(cloth, (16, 22, 62), step(1.6 - np.abs(np.abs(place - 12) - 4), 0, 0.6))
        return mix(cloth, (246, 222, 110), step(1 - np.abs((x + 12) % 24 - 12), 0, 0.6))

    weave = (np.floor((u + v) / 1.5) % 2 == 0)[..., None]
    return (
        np.where(weave, 0.65 * bands(u) + 0.35 * bands(v), 0.35 * bands(u) + 0.65 * bands(v))
        + 0.04 * noise(rng, u, v)[..., None]
    )


def bamboo(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    stalk = np.floor(u / 9)
    x = u / 9 - stalk
    tone, shift = at(rng, stalk, stalk * 0), at(rng, stalk, stalk * 0)
    y = (v + 25 * shift) % 25
    round_ = np.sqrt(np.clip(1 - (2.2 * (x - 0.5)) ** 2, 0, 1))
    color = ramp(
        0.75 * round_ + 0.15 * tone + 0.1 * noise(rng, u / 1.5, v / 9), (30, 44, 12), (122, 140, 40), (214, 212, 118)
    )
    return mix(color, (70, 66, 22), (np.abs(y - 2) < 0.9) * step(round_, 0.1, 0.4))


def rainbow(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    hue = ((v + 0.15 * u + 4 * noise(rng, u / 30, v / 30)) / 26) % 1
    return ramp(
        hue, (232, 40, 48), (250, 146, 30), (250, 232, 60), (66, 190, 76), (40, 122, 226), (134, 60, 190), (232, 40, 48)
    )


def fish_scales(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    # A scale hangs over the row below it: the upper of the two that reach a pixel is seen.
    color = np.zeros((*u.shape, 3))
    for back in (1, 0):
        row = np.floor(v / 5) - back
        across = u / 10 + 0.5 * (row % 2)
        column = np.floor(across)
        x, y = (across - column - 0.5) * 10, v - row * 5
        radius = np.hypot(x, y)
        scale = ramp(
            0.35 * at(np.random.default_rng(7), column, row) + 0.65 * step(radius, 0.5, 5.5),
            (44, 62, 84),
            (108, 140, 160),
            (206, 224, 226),
        )
        scale = mix(scale, (24, 34, 48), step(radius, 4.5, 5.3))
        color = np.where(((radius < 5.4) | (back == 1))[..., None], scale, color)
    return color + 0.08 * (noise(rng, u / 5, v / 5)[..., None] - 0.5)


def strawberry(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    column, row, x, y = grid(u, v, 8, 7, 0.5)
    x = (x - 0.5 + 0.16 * (at(rng, column, row) - 0.5)) * 8
    y = (y - 0.5 + 0.16 * (at(rng, column, row) - 0.5)) * 7
    flesh = ramp(
        0.5 * noise(rng, u / 8, v / 8) + 0.5 * step(np.hypot(x, y), 0.6, 3.6),
        (128, 4, 18),
        (206, 20, 34),
        (238, 62, 58),
    )
    return mix(flesh, (250, 220, 120), 1 - step(np.hypot(x, 0.6 * y), 0.75, 1.35))


# ---- grounds: what lies behind the materials


def plaster(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    return ramp(
        0.6 * layered(rng, u / 5, v / 5, 3) + 0.2 * noise(rng, u / 40, v / 40), (196, 184, 164), (240, 232, 216)
    )


def concrete(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    color = ramp(0.6 * layered(rng, u / 20, v / 20, 3) + 0.4 * noise(rng, u, v), (104, 106, 108), (176, 176, 172))
    return mix(color, (72, 74, 76), step(noise(rng, u / 1.6, v / 1.6), 0.88, 0.96))


def paper(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    sheet = ramp(noise(rng, u / 2, v / 2), (240, 238, 228), (252, 250, 244))
    sheet = mix(sheet, (150, 180, 214), step(0.8 - np.abs(v % 9 - 4.5), 0, 0.5))
    return mix(sheet, (226, 120, 120), step(0.7 - np.abs(u % 97 - 20), 0, 0.5))


def cardboard(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    flute = 0.5 + 0.5 * np.sin(u * 0.9)
    return ramp(
        0.3 * flute + 0.5 * layered(rng, u / 12, v / 30, 2) + 0.2 * noise(rng, u, v), (140, 104, 70), (192, 154, 112)
    )


def felt(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    fibres = 0.5 * noise(rng, u / 1.2, v / 4) + 0.5 * noise(rng, u / 4, v / 1.2)
    return ramp(fibres, (56, 40, 78), (104, 82, 132))


def fog(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    return ramp(layered(rng, u / 45, v / 30, 2), (146, 158, 166), (206, 214, 218))


#: Materials in the order of the classes, with the words that captions use for them; the first names the class.
MATERIALS: dict[Texture, tuple[str, ...]] = {
    brick: ('brick', 'bricks', 'brick wall'),
    grass: ('grass', 'lawn'),
    water: ('water', 'sea'),
    wood: ('wood', 'planks'),
    sand: ('sand', 'beach'),
    snow: ('snow',),
    lava: ('lava', 'magma'),
    zebra: ('zebra', 'zebra stripes'),
    tiger: ('tiger', 'tiger fur'),
    leopard: ('leopard', 'leopard fur'),
    chessboard: ('chessboard', 'checkerboard'),
    gold: ('gold', 'golden metal'),
    stone: ('stone', 'cobblestones'),
    sky: ('sky', 'clouds'),
    tiles: ('tiles', 'bathroom tiles'),
    denim: ('denim', 'jeans'),
    honeycomb: ('honeycomb', 'beehive'),
    marble: ('marble',),
    polka_dots: ('polka dots', 'dotted cloth'),
    tartan: ('tartan', 'plaid'),
    bamboo: ('bamboo',),
    rainbow: ('rainbow',),
    fish_scales: ('fish scales', 'scales'),
    strawberry: ('strawberry', 'strawberries'),
}

#: What lies behind them: the words of the background class.
GROUNDS: dict[Texture, str] = {
    plaster: 'plaster',
    concrete: 'concrete',
    paper: 'paper',
    cardboard: 'cardboard',
    felt: 'felt',
    fog: 'fog',
}
