"""A patch's correlations before and after CLIPtrase's recovery, and global patches (CLIPtrase Fig. 1b, 4, 6 and 9).

Before is CLIP's own attention in the last block; after are the recovered attention there, and the rows of W, with and
without denoising, that are clustered. The whole image is one window.

The paper says of global patches that "they attract high attention weights across the board" and gives no test that
holds for cosines (see :mod:`naclip_bench.methods.cliptrase.method`). Here they are those that get more than four
times their share of CLIP's own attention, the mean over all patches that look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP
from ..errors import BenchError
from ..methods.cliptrase import CLIPtrase
from .canvas import SIGNED, TEXT, bare, below, heat, mark, new_figure, outline
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from .canvas import Figure

#: How much more than its share of attention a global patch gets.
GLOBAL = 4.0

BEFORE, AFTER, COSINES, DENOISED = "CLIP's attention", 'recovered attention', 'W: correlations', 'W, denoised'

PANEL = 2.2


@dataclass
class Correlation:
    """What :func:`correlation` saw.

    Attributes:
        picture: what was looked at.
        patches: that look: those under the points, and the most global one behind them where there is one.
        maps: (h * w, h * w), who looks down; by title.
        is_global: (h * w) bool.
        grid: (h, w).
        clip: the weights.
    """

    picture: Picture
    patches: list[int]
    maps: dict[str, Tensor]
    is_global: Tensor
    grid: tuple[int, int]
    clip: FrozenCLIP


def global_patches(attention: Tensor) -> Tensor:
    """Find the patches (h * w) that get more than :data:`GLOBAL` times their share of attention (h * w, h * w)."""
    share = attention.mean(0) / attention.mean()
    return share > GLOBAL


@torch.no_grad()
def correlation(picture: Picture, member: CLIPtrase, points: Sequence[tuple[int, int]]) -> Correlation:
    """Correlations of the patches under ``points``, and of the most global patch.

    Raises:
        BenchError: a point outside the image, or a method that is not CLIPtrase with clustering.
    """
    picture.check(points)
    if not isinstance(member, CLIPtrase) or not member.cluster:
        raise BenchError("correlations are CLIPtrase's, with clustering; name such a method")
    clip = member.backbone
    trunk = clip.trunks(normalized(picture, member), [member.need])[0]
    tokens = trunk.tokens.clone()
    for block in clip.blocks[member.shared_depth : -1]:
        block.add_(tokens, rotation=trunk.rotation)
    own = clip.blocks[-1].attention_map(tokens, trunk.rotation)[0].float().mean(0)[1:, 1:].cpu()
    # Of three softmaxes; here the shares of one.
    recovered = F.normalize(member.attention_weights(trunk)[0].float().mean(0), p=1, dim=-1)[1:, 1:].cpu()
    correlations = member.correlations(trunk)[0].cpu()
    cosines = correlations[1:, 1:]
    maps = {
        BEFORE: own,
        AFTER: recovered,
        COSINES: cosines,
        DENOISED: (cosines - correlations[:1, 1:]).relu(),
    }
    patches = [picture.patch_at(point, trunk.grid, clip.patch) for point in points]
    is_global = global_patches(own)
    if is_global.any():
        patches.append(int(own.mean(0).argmax()))
    return Correlation(picture, patches, maps, is_global, trunk.grid, clip)


def draw_correlation(seen: Correlation) -> Figure:
    """A row for each patch: the image with the global patches, and its row of every map."""
    picture, clip = seen.picture, seen.clip
    height, width = picture.image.shape[:2]
    columns = 1 + len(seen.maps)
    size = (PANEL * columns, 0.5 + (PANEL * height / width + 0.24) * len(seen.patches))
    title = f'CLIPtrase, correlations of a patch: {picture.name}; {weights_of(clip)}'
    figure = new_figure(*size, title, clip.random_weights)
    axes = figure.subplots(len(seen.patches), columns, squeeze=False)
    extent = picture.seen(seen.grid, clip.patch)
    patch_height, patch_width = picture.patch_size(clip.patch)
    for place, patch in enumerate(seen.patches):
        x, y = picture.center_of(patch, seen.grid, clip.patch)
        bare(axes[place][0], picture.image, 'image, global patches' if place == 0 else '')
        for index in seen.is_global.nonzero().flatten().tolist():
            left, top = picture.center_of(index, seen.grid, clip.patch)
            outline(axes[place][0], left, top, patch_height, patch_width)
        below(axes[place][0], 'a global patch' if seen.is_global[patch] else 'a local patch')
        for axis, (name, weights) in zip(axes[place][1:], seen.maps.items(), strict=True):
            if place == 0:
                axis.set_title(name, fontsize=TEXT)
            row = weights[patch].unflatten(0, seen.grid).numpy()
            if name == COSINES:
                heat(axis, picture.image, row, extent, (-1, 1), SIGNED)
                below(axis, f'{row.min():.2f} to {row.max():.2f}; scale -1 to 1')
            elif name == DENOISED:
                heat(axis, picture.image, row, extent)
                below(axis, f'0 to {row.max():.2f}')
            else:
                heat(axis, picture.image, row, extent)
                below(axis, f'0 to {100 * row.max():.3g} %')
        for axis in axes[place]:
            mark(axis, x, y)
    return figure
