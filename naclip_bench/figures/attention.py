"""Where patches and [CLS] look, at any block (NACLIP Fig. 1, SCLIP Fig. 2 and 4, CLIPtrase Fig. 2, GCLIP Fig. 1a).

The whole image is one window. Blocks before the last are CLIP's own; the last is each method's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP
from ..errors import BenchError, did_you_mean
from ..methods.base import TrainingFreeSegmentor
from ..methods.gclip import log_products
from .canvas import HEAT, TEXT, bare, below, heat, mark, new_figure
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from .canvas import Figure

#: What can be shown, and how it is called.
ROWS = {
    'points': 'from the patch',
    'cls': 'from [CLS]',
    'to_cls': 'to [CLS]',
    'global': 'from the most looked-at patch',
    'matrix': 'from every patch (down) to every patch (across)',
}

#: sigma of GCLIP's eq. 2; the patch with the highest product does not depend on it.
SIGMA = 100.0

PANEL = 2.2

#: The share of a matrix's weights that the scale tells apart; those above are as bright as its end.
BRIGHTEST = 0.995


@dataclass
class Attention:
    """What :func:`attention` saw.

    Attributes:
        picture: what was looked at.
        points: (x, y) in pixels of the image; ``patches`` under them.
        maps: (1 + h * w, 1 + h * w) weights, [CLS] first: who looks down, at whom across; by title. Each row is shares,
            which add up to 1, whatever the method's own rows do.
        grid: (h, w).
        clip: the weights.
    """

    picture: Picture
    points: list[tuple[int, int]]
    patches: list[int]
    maps: dict[str, Tensor]
    grid: tuple[int, int]
    clip: FrozenCLIP

    def over_image(self, title: str, row: str, patch: int = 0) -> Tensor:
        """One row (or column) of a map over the patches, (h, w)."""
        weights = self.maps[title]
        found = {
            'points': lambda: weights[1 + patch, 1:],
            'cls': lambda: weights[0, 1:],
            'to_cls': lambda: weights[1:, 0],
            'global': lambda: weights[1 + self.global_patch(title), 1:],
        }[row]()
        return found.unflatten(0, self.grid)

    def global_patch(self, title: str) -> int:
        """The patch at which all look most: with the highest product of eq. 2 of GCLIP."""
        return int(log_products(self.maps[title][None, None], SIGMA)[0].argmax())


@torch.no_grad()
def attention(
    picture: Picture,
    members: Mapping[str, TrainingFreeSegmentor],
    points: Sequence[tuple[int, int]],
    blocks: Sequence[int] = (),
    head: int | None = None,
) -> Attention:
    """Attention over an image.

    Args:
        picture: the image.
        members: methods on one backbone, by the name to show.
        points: (x, y) in pixels of the image.
        blocks: from 1; empty: the last.
        head: from 1; None: the mean over heads.

    Raises:
        BenchError: a point, block or head that there is not, or a method that does not tell its attention.
    """
    picture.check(points)
    clip = next(iter(members.values())).backbone
    last, heads = len(clip.blocks), clip.blocks[0].heads
    blocks = list(blocks) or [last]
    for what, number, count in (*(('block', block, last) for block in blocks), ('head', head or 1, heads)):
        if not 1 <= number <= count:
            raise BenchError(f'{what} {number}: this backbone has {what}s 1 to {count}')
    inputs = normalized(picture, next(iter(members.values())))
    inner = [block - 1 for block in blocks if block < last]
    own = clip.trunk(inputs, max(inner, default=-1) + 1, attention=inner)
    maps = {f'block {index + 1}': own.attention[index] for index in inner}
    if last in blocks:
        trunks = clip.trunks(inputs, [member.need for member in members.values()])
        for (name, member), trunk in zip(members.items(), trunks, strict=True):
            title = f'{name}, block {last}' if inner else name
            maps[title] = member.attention_weights(trunk)
    chosen = {}
    for title, (of_image,) in maps.items():
        weights = of_image.float().mean(0) if head is None else of_image[head - 1].float()
        # SCLIP's rows, for one, add up to 2: sums of two softmaxes.
        chosen[title] = F.normalize(weights, p=1, dim=-1).cpu()
    patches = [picture.patch_at(point, own.grid, clip.patch) for point in points]
    return Attention(picture, list(points), patches, chosen, own.grid, clip)


def check_rows(rows: Sequence[str]) -> None:
    """See that the figure has these rows.

    Raises:
        BenchError: it has not.
    """
    for row in rows:
        if row not in ROWS:
            raise BenchError(f'the figure of attention has no row "{row}"{did_you_mean(row, ROWS)}')


def draw_attention(seen: Attention, rows: Sequence[str] = ('points',), title: str | None = None) -> Figure:
    """A row for each point and what else is asked: the image, and each map over it, scaled to its highest weight."""
    picture, clip = seen.picture, seen.clip
    height, width = picture.image.shape[:2]
    kinds = [(row, at) for row in rows for at in (range(len(seen.points)) if row == 'points' else (0,))]
    columns = 1 + len(seen.maps)
    size = (PANEL * columns, 0.5 + (PANEL * height / width + 0.24) * len(kinds))
    title = f'Attention: {picture.name}; {weights_of(clip)}' if title is None else title
    figure = new_figure(*size, title, clip.random_weights)
    axes = figure.subplots(len(kinds), columns, squeeze=False)
    extent = picture.seen(seen.grid, clip.patch)
    for place, (row, at) in enumerate(kinds):
        first, *others = axes[place]
        bare(first, picture.image, 'image' if place == 0 else '')
        below(first, ROWS[row] if row != 'matrix' else 'from every patch\nto every patch')
        for axis, name in zip(others, seen.maps, strict=True):
            if place == 0:
                axis.set_title(name, fontsize=TEXT)
            if row == 'matrix':
                values = seen.maps[name][1:, 1:].numpy()
                # A few weights are so high that all others would be black.
                values = values.clip(max=np.quantile(values, BRIGHTEST))
                axis.imshow(values, HEAT, vmin=0, vmax=values.max(), interpolation='nearest')
                axis.set_axis_off()
            else:
                values = seen.over_image(name, row, seen.patches[at]).numpy()
                heat(axis, picture.image, values, extent)
            if row == 'points':
                mark(axis, *seen.points[at])
            if row == 'global':
                mark(axis, *picture.center_of(seen.global_patch(name), seen.grid, clip.patch))
            below(axis, f'0 to {100 * values.max():.3g} %{" and more" if row == "matrix" else ""}')
        if row == 'points':
            mark(first, *seen.points[at])
    return figure
