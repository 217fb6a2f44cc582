"""Images and what methods make of them, a row each, with masks or without (SCLIP Fig. 1, NACLIP Fig. 3, 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmseg.structures import SegDataSample

from ..evaluation.overlay import labeled
from ..inference.pipeline import segment
from ..methods.base import TrainingFreeSegmentor
from ..palette import colors_of_names
from ..vocabulary import names_of
from .canvas import TEXT, bare, new_figure, swatches
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from .canvas import Figure

PANEL = 2.4

#: Inches for the names of a row's classes.
LEGEND = 1.6

#: Pixels across a panel at the least, so that names on it are letters, and how many letters would lie side by side.
ACROSS, LETTERS = 480, 26

#: Classes that a row's legend has room for, an inch of its height.
AN_INCH = 5.5


@dataclass
class Row:
    """An image and its labels (H, W) by title, the mask's first where there is one; -1 where a pixel has no class."""

    picture: Picture
    labels: dict[str, np.ndarray]


@torch.no_grad()
def sheet(pictures: Sequence[Picture], members: Mapping[str, TrainingFreeSegmentor]) -> list[Row]:
    """Segment images by several methods on one backbone.

    Args:
        pictures: images.
        members: methods, by the name to show.
    """
    rows, some = [], next(iter(members.values()))
    for picture in pictures:
        sample = SegDataSample(metainfo=dict(img_path=picture.name, ori_shape=picture.image.shape[:2]))
        predicted = segment(list(members.values()), list(normalized(picture, some)), [sample])
        labels = {name: of.cpu().numpy() for name, (of,) in zip(members, predicted, strict=True)}
        if picture.truth is not None:
            truth = np.where(picture.truth == picture.ignore_index, -1, picture.truth)
            labels = {'ground truth': truth, **labels}
        rows.append(Row(picture, labels))
    return rows


def draw_sheet(rows: Sequence[Row], member: TrainingFreeSegmentor) -> Figure:
    """A row for each image: itself, its labels, and the names of the classes that occur in it.

    Args:
        rows: of the images.
        member: one of the methods, for its class names and weights.
    """
    clip, names = member.backbone, names_of(member.vocabulary.classes)
    colors = colors_of_names(names)
    titles = list(dict.fromkeys(title for row in rows for title in row.labels))
    shapes = [row.picture.image.shape[0] / row.picture.image.shape[1] for row in rows]
    columns = 1 + len(titles)
    title = f'{about(rows)}; {weights_of(clip)}'
    size = (PANEL * columns + LEGEND, 0.5 + sum(PANEL * shape + 0.08 for shape in shapes))
    figure = new_figure(*size, title, clip.random_weights)
    widths = [*[1] * columns, LEGEND / PANEL]
    axes = figure.subplots(len(rows), columns + 1, squeeze=False, height_ratios=shapes, width_ratios=widths)
    for place, (axis_row, row) in enumerate(zip(axes, rows, strict=True)):
        image_axis, *others, names_axis = axis_row
        bare(image_axis, row.picture.image, 'image' if place == 0 else '')
        for axis, name in zip(others, titles, strict=True):
            axis.set_axis_off()
            if name in row.labels:
                bare(axis, _panel(row.picture.image, row.labels[name], names, colors))
            if place == 0:
                axis.set_title(name, fontsize=TEXT)
        # The largest first: they stay where there is no room for all.
        areas = np.bincount(np.concatenate([of[of >= 0] for of in row.labels.values()]), minlength=len(names))
        occurring = [int(index) for index in np.argsort(-areas, kind='stable') if areas[index]]
        room = max(3, int(AN_INCH * PANEL * shapes[place]) - 1)
        entries = [(names[index], colors[index] / 255) for index in occurring[:room]]
        if len(occurring) > room:
            entries[-1] = f'and {len(occurring) - room + 1} more', None
        if any((of < 0).any() for of in row.labels.values()):
            entries.append(('hatched: not scored', None))
        swatches(names_axis, entries)
    return figure


def _panel(image: np.ndarray, labels: np.ndarray, names: Sequence[str], colors: np.ndarray) -> np.ndarray:
    times = -(-ACROSS // image.shape[1])
    image, labels = (of.repeat(times, 0).repeat(times, 1) for of in (image, labels))
    return labeled(image, labels, names, colors, image.shape[1] // LETTERS)


def about(rows: Sequence[Row]) -> str:
    """The images' names, those of a dataset together: ``materials24 00000, 00001``."""
    found: dict[str, list[str]] = {}
    for row in rows:
        *dataset, name = row.picture.name.split(' ', 1)
        found.setdefault(' '.join(dataset), []).append(name)
    return '; '.join(f'{dataset} {", ".join(names)}'.strip() for dataset, names in found.items())
