"""Which patches a first pass gave the same class: the semantic feedback of ResCLIP.

Two patches of one class are linked by 1 where the straight line between them stays in the class, and by
exp(-distance / longest distance) where it leaves it; distances are Chebyshev's, in patches. Each row of links is then
blurred *along the flattened patch index*, as the released code does: the end of one row of patches runs into the
beginning of the next. It is divided by its sum, and all rows by the highest value of the window.

The line is Bresenham's. Which rasterisation the released code uses where a line passes between two patches is not
known. With the class map that its stored output lets one infer, tokens differ from it by 2e-3 (median), not 1e-5.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

#: Standard deviation and length of the blur along the patch index.
BLUR_SIGMA, BLUR_LENGTH = 5.0, 31


def patch_labels(labels: Tensor, grid: tuple[int, int], patch: int, queries: int) -> Tensor:
    """The most frequent label in every patch, (N, h * w); the lowest of several.

    Args:
        labels: (N, H, W) int64, H >= h * patch, W >= w * patch. What lies outside 0 .. queries - 1 counts as 0.
        grid: (h, w) patches.
        patch: pixels of a patch's side.
        queries: how many labels there are.
    """
    rows, columns = grid
    tiles = labels[:, : rows * patch, : columns * patch].clamp(0, queries - 1)
    tiles = tiles.unflatten(2, (columns, patch)).unflatten(1, (rows, patch)).transpose(2, 3).flatten(3).flatten(1, 2)
    counts = torch.zeros(*tiles.shape[:2], queries, dtype=torch.int32, device=labels.device)
    return counts.scatter_add_(2, tiles, torch.ones_like(tiles, dtype=torch.int32)).argmax(-1)


@lru_cache(maxsize=8)
def lines(grid: tuple[int, int], device: torch.device) -> Tensor:
    """The patches on the straight line from every patch to every other (Bresenham's), (steps, h * w, h * w) int32.

    A line that is at its end stays there.
    """
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing='ij'))
    (dy, dx) = (axis[None] - axis[:, None] for axis in (rows, columns))
    tall, wide = dy.abs(), dx.abs()
    y, x = torch.zeros_like(dy), torch.zeros_like(dx)
    error, steps = wide - tall, []
    for _ in range(max(grid) - 1):
        doubled = 2 * error
        across = (doubled > -tall) & (x != wide)
        down = (doubled < wide) & (y != tall)
        error = error - across * tall + down * wide
        x, y = x + across, y + down
        steps.append(((rows[:, None] + y * dy.sign()) * grid[1] + columns[:, None] + x * dx.sign()).int())
    return torch.stack(steps).to(device) if steps else torch.zeros(0, 1, 1, dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def decay(grid: tuple[int, int], device: torch.device) -> Tensor:
    """exp(-Chebyshev distance / the longest one) of every pair of patches, (h * w, h * w)."""
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing='ij'))
    distance = torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())
    return torch.exp(-distance / max(max(grid) - 1, 1)).to(device)


def same_class(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much patches belong together, (N, h * w, h * w) in fp32 from 0 to 1, rounded to half precision.

    Args:
        labels: (N, h * w) class of each patch.
        grid: (h, w) patches.
    """
    own = labels[:, :, None]
    stays = torch.ones(len(labels), *decay(grid, labels.device).shape, dtype=torch.bool, device=labels.device)
    for step in lines(grid, labels.device):
        stays &= labels[:, step] == own
    links = torch.where(stays, 1.0, decay(grid, labels.device)) * (own == labels[:, None])
    offsets = torch.arange(BLUR_LENGTH, device=labels.device) - BLUR_LENGTH // 2
    kernel = torch.exp(-offsets.square() / (2 * BLUR_SIGMA**2))
    kernel /= kernel.sum()
    blurred = F.conv1d(links.flatten(0, 1)[:, None], kernel[None, None], padding=BLUR_LENGTH // 2)[:, 0]
    rows = (blurred / blurred.sum(-1, keepdim=True)).unflatten(0, links.shape[:2])
    return (rows / rows.amax((1, 2), keepdim=True)).half().float()
