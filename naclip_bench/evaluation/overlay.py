"""Overlays: labels over an image, each class in its color, with its name where it fits, and a legend below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..palette import colors_of_names, is_background

#: How far a class's color covers the image unless said otherwise; its contour covers it wholly.
OPACITY = 0.45

#: Pixels of a panel's shorter side that are worth looking at, and of its longer side to which it is magnified.
SMALL, LARGE = 300, 1200

#: Least width of a picture in pixels. Text is as high as a part of the width, so that it is read on a page of any size.
NARROWEST, TEXT_PART, LEAST_TEXT = 420, 1 / 72, 13

#: Shape of the page on which panels are arranged, width to height.
PAGE = 2.0

#: What a picture of random weights says of itself.
RANDOM_WEIGHTS = 'RANDOM WEIGHTS: this picture means nothing'
RED = (196, 0, 0)

#: Title of the one panel that no weights have made.
TRUTH = 'ground truth'

#: Gray of a bare region's frame in the legend.
FRAME = (128, 128, 128)


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    colors: np.ndarray | None = None,
    outside: str = 'not scored',
    random_weights: bool = False,
    opacity: float = OPACITY,
) -> Image.Image:
    """Draw labels over an image, with a legend of the classes that occur, the largest first.

        overlay(image, result.labels, ['dog', 'boat', 'water']).save('out.png')

    Args:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W) integers, indices of ``names``; any other label is of no class.
        names: of the classes. One called ``background`` is left bare.
        colors: (C, 3) uint8; None: see :func:`colors_of_names`.
        outside: what the legend calls pixels of no class, which are hatched.
        random_weights: write across the picture that it means nothing.
        opacity: how far a class's color covers the image, from 0 to 1.
    """
    return _picture(image, {'': labels}, names, colors, outside, random_weights, opacity)


def side_by_side(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    names: Sequence[str],
    colors: np.ndarray | None = None,
    outside: str = 'not scored',
    random_weights: bool = False,
    opacity: float = OPACITY,
) -> Image.Image:
    """Draw an image and labels over it as panels under their titles; the legend says which panels show a class.

    Args:
        labels: (H, W) of each panel behind the image, by its title.
        image, names, colors, outside, random_weights, opacity: see :func:`overlay`.
    """
    return _picture(image, {'image': None, **labels}, names, colors, outside, random_weights, opacity)


@dataclass(frozen=True)
class Entry:
    """A line of the legend.

    Attributes:
        label: index of the class; None for pixels of no class.
        text: its name, and the panels that show it where not all do.
        area: pixels in all panels together.
    """

    label: int | None
    text: str
    area: int


def legend_of(labels: Mapping[str, np.ndarray], names: Sequence[str], outside: str) -> list[Entry]:
    """Entries of what occurs, by area; a panel is called by its letter, ``labels`` having the key of each."""
    counts = {
        letter: np.bincount(np.where((of >= 0) & (of < len(names)), of, len(names)).ravel(), minlength=len(names) + 1)
        for letter, of in labels.items()
    }
    total = sum(counts.values())
    entries = []
    for label in np.argsort(-total, kind='stable')[: np.count_nonzero(total)].tolist():
        having = [letter for letter, of in counts.items() if of[label]]
        only = f' ({", ".join(having)})' if len(having) < len(counts) else ''
        name, index = (outside, None) if label == len(names) else (names[label], label)
        entries.append(Entry(index, f'{name}{only}', int(total[label])))
    return entries


def columns_of(count: int, width: float, height: float) -> int:
    """In how many columns panels of a shape are largest on a page; of equals, those that leave least of it empty."""

    def worth(columns: int) -> tuple[float, int, int]:
        rows = -(-count // columns)
        scale = min(PAGE / (columns * width), 1 / (rows * height))
        return round(scale * height, 6), count - rows * columns, columns

    return max(range(1, count + 1), key=worth)


def _picture(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray | None],
    names: Sequence[str],
    colors: np.ndarray | None,
    outside: str,
    random_weights: bool,
    opacity: float,
) -> Image.Image:
    colors = colors_of_names(names) if colors is None else np.asarray(colors, np.uint8)
    image, labels = _magnified(image, {title: of for title, of in labels.items() if of is not None}, len(labels))
    titles = ([] if '' in labels else ['image']) + [title for title in labels if title]
    height, width = image.shape[:2]
    count = max(len(titles), 1)
    columns = columns_of(count, width, height)
    across = max(columns * width, NARROWEST)
    size = max(LEAST_TEXT, round(across * TEXT_PART))
    margin, line = round(0.6 * size), round(1.5 * size)
    total = across + (columns + 1) * margin
    font = font_of(size)

    letters = dict(zip(titles, _letters(), strict=False)) if len(labels) > 1 else {}
    entries = legend_of({letters.get(title, ''): of for title, of in labels.items()}, names, outside)
    places, legend_height = _places(entries, font, total, margin, line)
    head = line if random_weights else 0
    title_height = line if titles else 0
    row_height = title_height + height + margin
    legend_top = head + margin + -(-count // columns) * row_height
    canvas = Image.new('RGB', (total, legend_top + legend_height + margin), 'white')
    pen = ImageDraw.Draw(canvas)
    if random_weights:
        pen.rectangle((0, 0, total, head), RED)
        pen.text((margin, head / 2), shortened(RANDOM_WEIGHTS, font, total - margin), 'white', font, 'lm')
    for index, title in enumerate(titles or ['']):
        left = margin + index % columns * (width + margin)
        top = head + margin + index // columns * row_height
        if title:
            called = f'{letters[title]}  {title}' if letters else title
            pen.text((left, top), shortened(called, font, width), 'black', font)
        panel = image if title not in labels else _panel(image, labels[title], names, colors, size, opacity)
        canvas.paste(Image.fromarray(panel), (left, top + title_height))
        if random_weights and title in labels and title != TRUTH:
            _stamp(canvas, (left, top + title_height, width, height), font)
    mean = image.mean((0, 1))
    for entry, (x, y, text) in zip(entries, places, strict=True):
        canvas.paste(Image.fromarray(_swatch(entry, mean, names, colors, size, opacity)), (x, legend_top + y))
        pen.text((x + size + margin // 2, legend_top + y + size / 2), text, 'black', font, 'lm')
    return canvas


def _letters() -> Sequence[str]:
    return [*ascii_lowercase, *(f'{first}{second}' for first in ascii_lowercase for second in ascii_lowercase)]


def _magnified(
    image: np.ndarray, labels: Mapping[str, np.ndarray], count: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Small images by a whole number, so that nothing of the labels is made up."""
    shorter, longer = sorted(image.shape[:2])
    factor = max(1, min(-(-SMALL // shorter), LARGE // longer))
    labels = {title: np.asarray(of).astype(np.int32) for title, of in labels.items()}
    if factor > 1:
        size = tuple(factor * side for side in image.shape[1::-1])
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        labels = {title: of.repeat(factor, 0).repeat(factor, 1) for title, of in labels.items()}
    return image, labels


def _panel(
    image: np.ndarray, labels: np.ndarray, names: Sequence[str], colors: np.ndarray, size: int, opacity: float
) -> np.ndarray:
    """An image (H, W, 3) with labels (H, W) over it: tints, contours, a hatch where there is no class, and names."""
    is_class = (labels >= 0) & (labels < len(names))
    bare = np.array([is_background(name) for name in names], bool)
    tinted = is_class & ~np.append(bare, False)[np.where(is_class, labels, -1)]
    shown = hatched(image, size)
    shown[is_class] = image[is_class]
    shown[tinted] = mixed(image[tinted], colors[labels[tinted]], opacity)
    # The extremes of labels around a pixel differ where another region is near.
    values = np.where(is_class, labels, -1).astype(np.float32)
    kernel = np.ones([2 * line_width(size) + 1] * 2, np.uint8)
    contour = (cv2.dilate(values, kernel) != cv2.erode(values, kernel)) & tinted
    shown[contour] = colors[labels[contour]]
    return _named(shown, np.where(is_class, labels, -1), names, size)


def line_width(size: int) -> int:
    """Of contours, for text of ``size`` pixels."""
    return max(1, round(size / 9))


def hatched(image: np.ndarray, size: int) -> np.ndarray:
    """A copy of an image (H, W, 3) in pale gray under slanted lines: what is of no class."""
    gray = 0.6 * image.mean(2, keepdims=True) + 0.4 * 235
    out = np.broadcast_to(gray, image.shape).copy()
    rows, columns = np.indices(image.shape[:2], sparse=True)
    out[(rows + columns) % size < max(1, size // 8)] *= 0.72
    return out.round().astype(np.uint8)


def mixed(pixels: np.ndarray, colors: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Lay colors (N, 3) over pixels (N, 3)."""
    return ((1 - opacity) * pixels + opacity * colors).round().astype(np.uint8)


def _swatch(
    entry: Entry, mean: np.ndarray, names: Sequence[str], colors: np.ndarray, size: int, opacity: float
) -> np.ndarray:
    """What a region looks like over the image's mean color: tint and contour, bare, or hatched."""
    ground = np.broadcast_to(mean.round().astype(np.uint8), (size, size, 3))
    frame = FRAME
    if entry.label is None:
        swatch = hatched(ground, max(size // 2, 4))
    elif is_background(names[entry.label]):
        swatch = ground.copy()
    else:
        frame = colors[entry.label]
        swatch = mixed(ground, frame, opacity)
    width = 2 * line_width(size)
    inner = swatch[width:-width, width:-width].copy()
    swatch[:] = frame
    swatch[width:-width, width:-width] = inner
    return swatch


def _named(image: np.ndarray, labels: np.ndarray, names: Sequence[str], size: int) -> np.ndarray:
    """Write each region's name into it, where there is room for all of it."""
    canvas = Image.fromarray(image)
    pen, font = ImageDraw.Draw(canvas), font_of(round(0.85 * size))
    for label in np.unique(labels[labels >= 0]).tolist():
        if is_background(names[label]):
            continue
        left, top, right, bottom = font.getbbox(names[label], stroke_width=2)
        box = bottom - top + 4, right - left + 4
        mask = np.uint8(labels == label)
        x, y, width, height = cv2.boundingRect(mask)
        if height < box[0] or width < box[1]:
            continue
        # Beyond the border of the bounding box is no room.
        mask = cv2.copyMakeBorder(mask[y : y + height, x : x + width], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        room = cv2.erode(mask, np.ones(box, np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if not room.any():
            continue
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3) * room
        count, regions = cv2.connectedComponents(mask, connectivity=4)
        for region in range(1, count):
            deepest = np.where(regions == region, depth, 0)
            row, column = np.unravel_index(deepest.argmax(), deepest.shape)
            if deepest[row, column]:
                place = x + column - 1, y + row - 1
                pen.text(place, names[label], 'white', font, 'mm', stroke_width=2, stroke_fill='black')
    return np.asarray(canvas)


def _stamp(canvas: Image.Image, panel: tuple[int, int, int, int], font: ImageFont.FreeTypeFont) -> None:
    """Say within a panel (left, top, width, height) too, which may be cut out, that it means nothing."""
    left, top, width, height = panel
    text = shortened(RANDOM_WEIGHTS.partition(':')[0].lower(), font, width - 4)
    box = left, top, left + min(width - 1, round(font.getlength(text)) + 8), top + min(height - 1, font.size + 6)
    pen = ImageDraw.Draw(canvas)
    pen.rectangle(box, RED)
    pen.text((left + 4, (box[1] + box[3]) / 2), text, 'white', font, 'lm')


def _places(
    entries: Sequence[Entry], font: ImageFont.FreeTypeFont, total: int, margin: int, line: int
) -> tuple[list[tuple[int, int, str]], int]:
    """Where each entry of the legend begins and its text, cut where a line cannot hold it; and the legend's height."""
    places, x, y = [], margin, 0
    before = font.size + margin // 2
    for entry in entries:
        text = shortened(entry.text, font, total - 2 * margin - before)
        step = before + round(font.getlength(text))
        if x + step > total - margin and x > margin:
            x, y = margin, y + line
        places.append((x, y, text))
        x += step + 2 * margin
    return places, y + line


def shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text, cut to so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text}…' if text else ''


@lru_cache(maxsize=32)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font of all pictures: DejaVu, which has most alphabets, where the system has it, else what Pillow has."""
    try:
        return ImageFont.truetype('DejaVuSans.ttf', size)
    except OSError:
        return ImageFont.load_default(size)
