"""Which patches a first pass gave the same class: the semantic feedback of ResCLIP.

Two patches of one class are linked by 1 where the line between them stays in the class, and by
exp(-distance / longest distance) where it leaves it; distances are Chebyshev's, in patches. Each row of links is then
blurred *along the flattened patch index*, as the released code does: the end of one row of patches runs into the
beginning of the next. It is divided by its sum, and all rows by the highest value of the window.

The released code does not walk the whole line. Between patches d apart it looks at d points, but each is 1 / (longest
distance) of the way further than the last, not 1 / d: of near patches only the start is looked at (d = 2 of 14 x 14
patches), of the farthest every patch between. So links are not symmetric, and one that leaves its class late counts as
staying. This follows the code.

The classes given, tokens equal the released code's stored ones to 1e-5. Those are of 14 x 14 patches, where no point
lies midway between two. Where one does, the code's ``linspace`` in fp32 decides by its rounding; here it goes to the
even patch, exactly. That the longest distance is the longer side's on a grid that is no square is assumed.
docs/methods.md says how much the two differ.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

#: Standard deviation and length of the blur along the patch index.
BLUR_SIGMA, BLUR_LENGTH = 5.0, 31


def patch_labels(labels: Tensor, grid: tuple[int, int], patch: int, queries: int) -> Tensor:
    """Find the most frequent label in every patch, (N, h * w); the lowest of several.

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
    """The patches that are looked at between every patch and every other, (steps, h * w, h * w) int32.

    Step s is s / (longest distance) of the way from the first to the second. Patches d apart have d steps; those after
    repeat the last.
    """
    (rows, columns), distance = axes(grid), distances(grid)
    steps = []
    for step in range(1, max(grid)):
        # In fp64 and divided last, what lies midway between two patches does so to the last bit.
        way = distance.clamp(max=step).double()
        y, x = ((axis[:, None] + way * (axis - axis[:, None]) / longest(grid)).round() for axis in (rows, columns))
        steps.append((y * grid[1] + x).int())
    return torch.stack(steps).to(device) if steps else torch.zeros(0, 1, 1, dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def decay(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Compute exp(-distance / longest distance) of every pair of patches, (h * w, h * w)."""
    return torch.exp(-distances(grid) / longest(grid)).to(device)


def axes(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Tell row and column of every patch, (h * w,) each."""
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing='ij')
    return rows.flatten(), columns.flatten()


def distances(grid: tuple[int, int]) -> Tensor:
    """Measure the Chebyshev distance of every pair of patches, (h * w, h * w)."""
    rows, columns = axes(grid)
    return torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())


def longest(grid: tuple[int, int]) -> int:
    """Measure the longest distance of two patches, at least 1."""
    return max(max(grid) - 1, 1)


def same_class(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tell how much patches belong together, (N, h * w, h * w) in half precision, from 0 to 1.

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
    return (rows / rows.amax((1, 2), keepdim=True)).half()
