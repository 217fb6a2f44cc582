"""Where a patch looks: the last block's attention over an image, for several methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import FrozenCLIP
from ..errors import BenchError
from ..optional import needed
from .overlay import columns_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Width of a panel in the figure and size of the text, in inches and points, and how far a map covers the image.
PANEL, TEXT = 2.6, 9
OPACITY = 0.7

#: Columns that leave text of this size readable on a page; with more of them it grows.
COLUMNS = 3


@dataclass
class AttentionMaps:
    """What :func:`attention_maps` saw.

    Attributes:
        image: (H, W, 3) uint8, RGB, at its original size.
        points: (x, y) in pixels of the image.
        maps: for each method by name, (points, h, w): weights of the patch under each point over all patches, the
            mean over heads.
        seen: (height, width) in pixels of the image that whole patches cover, from the left upper corner.
        random_weights: the weights mean nothing.
    """

    image: np.ndarray
    points: Sequence[tuple[int, int]]
    maps: dict[str, Tensor]
    seen: tuple[float, float]
    random_weights: bool


@torch.no_grad()
def attention_maps(
    path: Path, points: Sequence[tuple[int, int]], configs: dict[str, Config], short_side: int, device: torch.device
) -> AttentionMaps:
    """Attention of the patches under ``points``, the whole image being one window.

    Args:
        path: an image.
        points: (x, y) in its pixels.
        configs: of each method, by the name to show; all with one backbone.
        short_side: what the image is resized to, in pixels.

    Raises:
        BenchError: an image that cannot be read, a point outside it, or methods with different backbones.
    """
    load = Compose([dict(type='LoadImage'), dict(type='Resize', scale=(2048, short_side), keep_ratio=True)])
    image = Compose([dict(type='LoadImage')])(dict(img_path=str(path)))['img'][..., ::-1]
    height, width = image.shape[:2]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise BenchError(f'the point {x},{y} is outside {path}, which is {width} wide and {height} high')
    backbones = [config.model.backbone for config in configs.values()]
    if any(backbone != backbones[0] for backbone in backbones):
        raise BenchError('the methods have different backbones; maps side by side need one')

    clip = FrozenCLIP(**backbones[0])
    members = [MODELS.build(dict(config.model, backbone=clip)).eval().to(device) for config in configs.values()]
    pixels = torch.from_numpy(load(dict(img_path=str(path)))['img']).permute(2, 0, 1)
    inputs = members[0].data_preprocessor(dict(inputs=[pixels]))['inputs'][0]
    trunks = clip.trunks(inputs[None], [member.need for member in members])
    rows, columns = trunks[0].grid
    patch_height, patch_width = (
        clip.patch * side / new for side, new in zip((height, width), inputs.shape[1:], strict=True)
    )
    # A point in the remainder at the right or below belongs to the last patch.
    patches = [
        min(int((y + 0.5) / patch_height), rows - 1) * columns + min(int((x + 0.5) / patch_width), columns - 1)
        for x, y in points
    ]
    maps = {}
    for name, member, trunk in zip(configs, members, trunks, strict=True):
        weights = member.attention_weights(trunk)[0].float().mean(0)
        maps[name] = weights[1:, 1:][patches].unflatten(1, (rows, columns)).cpu()
    return AttentionMaps(image, points, maps, (rows * patch_height, columns * patch_width), clip.random_weights)


def draw_attention(seen: AttentionMaps) -> Figure:
    """Rows for each point: the image with the point, and each method's map over it in gray, each to its highest weight.

    Pixels at the right or below that no whole patch covers show the last patch.
    """
    height, width = seen.image.shape[:2]
    count, points = 1 + len(seen.maps), len(seen.points)
    columns = columns_of(count, width, height)
    rows = -(-count // columns)
    text = TEXT * max(1, columns / COLUMNS)
    size = (PANEL * columns + 0.6, (PANEL * height / width + text / 30) * rows * points)
    figure = needed('matplotlib.figure', 'report', 'drawing attention').Figure(size, dpi=150, layout='constrained')
    if seen.random_weights:
        figure.suptitle(
            'RANDOM WEIGHTS: these maps mean nothing', color='white', backgroundcolor='#c40000', fontsize=text
        )
    axes = figure.subplots(rows * points, columns, squeeze=False)
    gray = np.float32(seen.image).mean(2)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (x, y) in enumerate(seen.points):
        of_point = axes[index * rows : (index + 1) * rows].flat
        for axis, title in zip(of_point, ('image', *seen.maps), strict=False):
            if title in seen.maps:
                weights = whole_map(seen.maps[title][index], seen.seen, (height, width))
                highest = float(seen.maps[title][index].max())
                axis.imshow(gray, 'gray', vmin=0, vmax=255)
                shown = axis.imshow(
                    weights / max(highest, np.finfo(np.float32).tiny), 'inferno', alpha=OPACITY, vmin=0, vmax=1
                )
                axis.set_title(f'{title}, highest {highest:.2g}', fontsize=text)
                if seen.random_weights:
                    axis.text(
                        0.02,
                        0.97,
                        'random weights',
                        color='white',
                        backgroundcolor='#c40000',
                        fontsize=0.8 * text,
                        va='top',
                        transform=axis.transAxes,
                    )
            else:
                axis.imshow(seen.image)
                axis.set_title(title, fontsize=text)
            axis.plot(x, y, marker='x', color='cyan', markersize=0.8 * text, markeredgewidth=2)
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, aspect=30, pad=0.01)
    # At the maps' opacity and over the image's mean gray, so that its colors are those of the maps.
    bar.ax.set_facecolor(str(gray.mean() / 255))
    bar.set_label('weight, as a part of the highest', fontsize=text)
    bar.ax.tick_params(labelsize=0.9 * text)
    return figure


def whole_map(weights: Tensor, seen: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Weights of patches (h, w) at the pixels of an image (H, W), linear between the centers of patches.

    Args:
        seen: (height, width) in pixels of the image that the patches cover; beyond lies what the last patch has.
        size: (H, W).
    """
    places = [
        (np.arange(pixels) + 0.5) * patches / covered - 0.5
        for pixels, patches, covered in zip(size, weights.shape, seen, strict=True)
    ]
    out = weights.numpy().astype(np.float32)
    for axis, place in enumerate(places):
        low = np.clip(np.floor(place).astype(int), 0, out.shape[axis] - 1)
        high = np.minimum(low + 1, out.shape[axis] - 1)
        share = np.float32(np.clip(place - low, 0, 1)).reshape((-1, 1) if axis == 0 else (1, -1))
        out = (1 - share) * out.take(low, axis) + share * out.take(high, axis)
    return out
