"""Images of what was predicted: the image, ground truth and predictions over it, and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from PIL import Image, ImageDraw, ImageFont

from ..datasets.square import central_square
from ..files import output_path

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


class OverlayHook(Hook):
    """Draws every image of a run into ``folder`` as ``<name>.png``; it changes no setting of the run.

    Args:
        folder: made where it is not there.
        names: name of each image by its index.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = Path(folder), names

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        dataset = runner.test_loop.dataloader.dataset
        colors = palette(dataset.metainfo)
        for sample in outputs:
            labels = {
                title: field.data.squeeze(0).cpu().numpy()
                for title, field in (('ground truth', sample.gt_sem_seg), ('prediction', sample.pred_sem_seg))
            }
            path = output_path(self.folder, self.names[sample.sample_idx], '.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(image_of(dataset, sample), labels, dataset.metainfo['classes'], colors).save(path)
