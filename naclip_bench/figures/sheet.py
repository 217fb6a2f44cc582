"""Images and what methods make of them, a row each, with masks or without (SCLIP Fig. 1, NACLIP Fig. 3, 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmseg.structures import SegDataSample

from ..evaluation.overlay import TRUTH, side_by_side
from ..inference.pipeline import segment
from ..methods.base import TrainingFreeSegmentor
from ..palette import colors_of_names
from ..vocabulary import names_of
from .canvas import bare, new_figure
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from PIL import Image

    from .canvas import Figure

#: Inches across, and of the title.
WIDTH, TITLE = 11, 0.4


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
            labels = {TRUTH: truth, **labels}
        rows.append(Row(picture, labels))
    return rows


def draw_sheet(rows: Sequence[Row], member: TrainingFreeSegmentor) -> Figure:
    """Each image and its labels as panels, above the names of the classes that occur there.

    Args:
        rows: of the images.
        member: one of the methods, for its class names and weights.
    """
    names, random = names_of(member.vocabulary.classes), member.backbone.random_weights
    drawn = [np.asarray(_drawn(row, names, random)) for row in rows]
    heights = [of.shape[0] / of.shape[1] for of in drawn]
    title = f'{about(rows)}; {weights_of(member.backbone)}'
    figure = new_figure(WIDTH, TITLE + WIDTH * sum(heights), title, random)
    for (axis,), image in zip(figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights), drawn, strict=True):
        bare(axis, image)
    return figure


def _drawn(row: Row, names: Sequence[str], random_weights: bool) -> Image.Image:
    picture, labels = row.picture, row.labels
    # The dataset's own colors, unless its images are told apart by other words.
    fits = picture.colors is not None and len(picture.colors) == len(names)
    colors = picture.colors if fits else colors_of_names(names)
    if TRUTH in labels:
        unscored = labels[TRUTH] < 0
        labels = {title: np.where(unscored, -1, of) for title, of in labels.items()}
    return side_by_side(picture.image, labels, names, colors, random_weights=random_weights)


def about(rows: Sequence[Row]) -> str:
    """The images' names, those of a dataset together: ``materials24 00000, 00001``."""
    found: dict[str, list[str]] = {}
    for row in rows:
        *dataset, name = row.picture.name.split(' ', 1)
        found.setdefault(' '.join(dataset), []).append(name)
    return '; '.join(f'{dataset} {", ".join(names)}'.strip() for dataset, names in found.items())
