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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Size of a panel in the figure, in inches, and how far a map covers the image.
PANEL = 2.6
OPACITY = 0.75


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
    """A row for each point: the image with the point, and each method's map over it, scaled to its highest weight."""
    height, width = seen.image.shape[:2]
    bottom, right = (side - 0.5 for side in seen.seen)
    size = (PANEL * (1 + len(seen.maps)), (PANEL * height / width + 0.3) * len(seen.points))
    figure_of = needed('matplotlib.figure', 'report', 'drawing attention').Figure
    figure = figure_of(figsize=size, dpi=150, layout='constrained')
    if seen.random_weights:
        figure.suptitle('random weights: these maps mean nothing', color='red', fontsize=9)
    axes = figure.subplots(len(seen.points), 1 + len(seen.maps), squeeze=False)
    for index, (x, y) in enumerate(seen.points):
        for axis, title in zip(axes[index], ('image', *seen.maps), strict=True):
            axis.imshow(seen.image)
            axis.set_title(title, fontsize=9) if index == 0 else None
            axis.set_axis_off()
            if title in seen.maps:
                weights = seen.maps[title][index]
                scaled = (weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)).numpy()
                where = (-0.5, right, bottom, -0.5)
                axis.imshow(scaled, 'inferno', alpha=OPACITY, vmin=0, vmax=1, extent=where, interpolation='bilinear')
                axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            axis.plot(x, y, marker='x', color='cyan', markersize=7, markeredgewidth=2)
    return figure
