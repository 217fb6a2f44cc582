"""Images of what was predicted: the image, ground truth and predictions over it, and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.structures import SegDataSample
from PIL import Image, ImageDraw, ImageFont

from ..datasets.square import central_square
from .image_files import ImageFiles

OPACITY = 0.6
FONT_SIZE = 14
MARGIN = 8

#: Pixels of a panel's shorter side that are worth looking at, and of its longer side to which it is magnified.
SMALL, LARGE = 160, 1000
SWATCH = 14


def palette(metainfo: dict) -> np.ndarray:
    """(C, 3) uint8: the dataset's own colors where they tell all classes apart, else evenly spread hues."""
    classes, colors = metainfo['classes'], metainfo.get('palette') or []
    if len({tuple(color) for color in colors}) == len(classes):
        return np.array(colors, np.uint8)
    golden = 0.618034
    spread = [
        colorsys.hsv_to_rgb(index * golden % 1, (0.55, 0.8, 1.0)[index % 3], (1.0, 0.75)[index % 2])
        for index in range(len(classes))
    ]
    return np.uint8(np.round(np.array(spread) * 255))


def blend(image: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Labels (H, W) in their colors over an image (H, W, 3); pixels of no class keep the image."""
    shown = (labels >= 0) & (labels < len(colors))
    out = image.copy()
    mixed = (1 - OPACITY) * image[shown] + OPACITY * colors[labels[shown]]
    out[shown] = mixed.round().astype(np.uint8)
    return out


def draw(
    image: np.ndarray, labels: Mapping[str, np.ndarray], classes: Sequence[str], colors: np.ndarray
) -> Image.Image:
    """An image and labels over it, side by side under their titles, with a legend of the classes that occur.

    Small images are magnified by a whole number.

    Args:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W) of each panel behind the image, by its title. Of two, the legend says which classes one alone
            has, by its title.
    """
    shorter, longer = sorted(image.shape[:2])
    factor = min(-(-SMALL // shorter), LARGE // longer)
    if factor > 1:
        size = tuple(factor * side for side in image.shape[1::-1])
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        labels = {title: of.repeat(factor, 0).repeat(factor, 1) for title, of in labels.items()}
    height, width = image.shape[:2]
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 6
    panels = {'image': image, **{title: blend(image, of, colors) for title, of in labels.items()}}
    total = MARGIN + len(panels) * (width + MARGIN)
    occurring = {title: set(np.unique(of).tolist()) & set(range(len(classes))) for title, of in labels.items()}
    entries = []
    for index in sorted(set().union(*occurring.values())):
        having = [title for title, of in occurring.items() if index in of]
        only = f' [{having[0]}]' if len(labels) == 2 and len(having) == 1 else ''
        entries.append((tuple(colors[index].tolist()), f'{classes[index]}{only}'))
    places, x, y = [], MARGIN, 0
    for _, text in entries:
        step = SWATCH + 5 + round(font.getlength(text)) + 2 * MARGIN
        if x + step > total and x > MARGIN:
            x, y = MARGIN, y + line
        places.append((x, y))
        x += step
    top = MARGIN + line
    legend = top + height + MARGIN
    canvas = Image.new('RGB', (total, legend + y + line + MARGIN), 'white')
    pen = ImageDraw.Draw(canvas)
    for index, (title, panel) in enumerate(panels.items()):
        left = MARGIN + index * (width + MARGIN)
        pen.text((left, MARGIN), title, 'black', font)
        canvas.paste(Image.fromarray(panel), (left, top))
    for (color, text), (x, y) in zip(entries, places, strict=True):
        pen.rectangle((x, legend + y + 2, x + SWATCH, legend + y + 2 + SWATCH), color, 'black')
        pen.text((x + SWATCH + 5, legend + y), text, 'black', font)
    return canvas


def image_of(dataset: BaseDataset, sample: SegDataSample) -> np.ndarray:
    """The image (H, W, 3) uint8, RGB, that a sample's labels lie on."""
    load = dataset.pipeline.transforms[0]
    image = Image.fromarray(load(dict(img_path=sample.img_path))['img'][..., ::-1])
    if sample.get('central_square'):
        image = central_square(image, sample.central_square, Image.Resampling.BICUBIC)
    return np.asarray(image)


class OverlayFiles(ImageFiles):
    """Draws the truth and the only prediction of every image.

    Args:
        dataset: says classes and colors, and how an image is read.
        *where: see :class:`ImageFiles`.
    """

    def __init__(self, dataset: BaseDataset, *where: object) -> None:
        super().__init__(*where)
        self.dataset, self.colors = dataset, palette(dataset.metainfo)

    def drawn(self, sample: SegDataSample) -> Image.Image:
        fields = {
            'ground truth': next(iter(sample.truths.values())),
            'prediction': next(iter(sample.predictions.values())),
        }
        labels = {title: of.cpu().numpy() for title, of in fields.items()}
        return draw(image_of(self.dataset, sample), labels, self.dataset.metainfo['classes'], self.colors)
