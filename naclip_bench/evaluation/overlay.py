"""Pictures of what was predicted: the picture, the ground truth over it, and the prediction over it, with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..datasets.square import central_square

OPACITY = 0.6
FONT_SIZE = 14
MARGIN = 8
SWATCH = 14


def palette(metainfo: dict) -> np.ndarray:
    """(C, 3) uint8: the data set's own colours where they tell all classes apart, else evenly spread hues."""
    classes, colours = metainfo['classes'], metainfo.get('palette') or []
    if len({tuple(colour) for colour in colours}) == len(classes):
        return np.array(colours, np.uint8)
    golden = 0.618034
    spread = [
        colorsys.hsv_to_rgb(index * golden % 1, (0.55, 0.8, 1.0)[index % 3], (1.0, 0.75)[index % 2])
        for index in range(len(classes))
    ]
    return np.uint8(np.round(np.array(spread) * 255))


def blend(picture: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Labels (H, W) in their colours over a picture (H, W, 3); pixels of no class keep the picture."""
    shown = (labels >= 0) & (labels < len(colours))
    out = picture.copy()
    mixed = (1 - OPACITY) * picture[shown] + OPACITY * colours[labels[shown]]
    out[shown] = mixed.round().astype(np.uint8)
    return out


def draw(
    picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: Sequence[str], colours: np.ndarray
) -> Image.Image:
    """Three panels side by side under their titles, and a legend of the classes that occur in either.

    A class name is followed by [gt] or [pred] where only one of the two has it.
    """
    height, width = truth.shape
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 6
    panels = {
        'picture': picture,
        'ground truth': blend(picture, truth, colours),
        'prediction': blend(picture, prediction, colours),
    }
    total = MARGIN + len(panels) * (width + MARGIN)
    in_truth, in_prediction = (
        set(np.unique(labels).tolist()) & set(range(len(classes))) for labels in (truth, prediction)
    )
    entries = []
    for index in sorted(in_truth | in_prediction):
        only = '' if index in in_truth & in_prediction else ' [gt]' if index in in_truth else ' [pred]'
        entries.append((tuple(colours[index].tolist()), f'{classes[index]}{only}'))
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
    for (colour, text), (x, y) in zip(entries, places, strict=True):
        pen.rectangle((x, legend + y + 2, x + SWATCH, legend + y + 2 + SWATCH), colour, 'black')
        pen.text((x + SWATCH + 5, legend + y), text, 'black', font)
    return canvas


class OverlayHook(Hook):
    """Draws every picture of a run into ``folder`` as ``<name>.png``; it changes no setting of the run.

    Args:
        folder: made where it is not there.
        names: name of each picture by its index.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = Path(folder), names

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        metainfo = runner.test_loop.dataloader.dataset.metainfo
        colours = palette(metainfo)
        for sample in outputs:
            with Image.open(sample.img_path) as image:
                image = ImageOps.exif_transpose(image).convert('RGB')
            if sample.get('central_square'):
                image = central_square(image, sample.central_square, Image.Resampling.BICUBIC)
            picture = np.asarray(image)
            truth, prediction = (
                field.data.squeeze(0).cpu().numpy() for field in (sample.gt_sem_seg, sample.pred_sem_seg)
            )
            path = self.folder / f'{self.names[sample.sample_idx]}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(picture, truth, prediction, metainfo['classes'], colours).save(path)
