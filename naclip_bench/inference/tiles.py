"""Large images tile by tile: windows are run row by row, and of their logits only those are kept that tiles still need.

Memory depends on the width of the image alone, and weakly: the logits of the few rows of windows that lie over a row of
tiles. The matrices of a tile are parts of those of :mod:`.stitch`, so that its logits are those of the whole image but
for the order in which sums are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .pipeline import Member, patch_logits
from .stitch import Shared, block_elements, resize_matrix
from .windows import Windows

#: Longest and shortest side of a tile in pixels; in between, as many as the device likes to have logits at once.
LONGEST, SHORTEST = 1024, 32


class TileLogits(Shared):
    """Logits of every query at the pixels of one tile, computed when they are needed; used like :class:`PixelLogits`.

    Args:
        patches: (patch rows, Q, patch columns) of the windows over the tile.
        down, across: the tile's part of R on each side, (pixels, patch rows) and (pixels, patch columns).
    """

    notes = ()

    def __init__(self, patches: Tensor, down: Tensor, across: Tensor) -> None:
        self.size, self.queries, self.device = (len(down), len(across)), patches.shape[1], patches.device
        self._patches, self._down, self._across = patches, down, across

    def regions(self) -> Iterator[tuple[slice, Iterator[tuple[slice, Tensor]]]]:
        """One region, the tile, with all queries; see :meth:`PixelLogits.regions`."""
        wide = (self._patches @ self._across.T).flatten(1)
        block = (self._down @ wide).unflatten(1, (self.queries, -1))
        yield slice(0, self.size[0]), iter([(slice(0, self.queries), block)])


@dataclass(frozen=True)
class Tile:
    """Where a tile lies in the original image, and the logits of each member there."""

    rows: slice
    columns: slice
    logits: list[TileLogits]


@dataclass(frozen=True)
class _Part:
    """Pixels of one side, the windows that they see, and their part of R: (pixels, windows * patches)."""

    pixels: slice
    windows: slice
    matrix: Tensor


def part_of_side(
    size: int, window: int, starts: Sequence[int], patches: int, to: int, pixels: slice
) -> tuple[slice, Tensor]:
    """What :func:`side_matrix` says of some pixels of a side, without the rest of it.

    Args:
        size, window, starts, patches, to: see :class:`Side`.
        pixels: of the original side.

    Returns:
        the windows that they see, and (pixels, windows * patches), windows in their order.
    """
    # torch's bilinear weights, align_corners=False.
    source = ((torch.arange(pixels.start, pixels.stop) + 0.5) * (size / to) - 0.5).clamp(min=0)
    low = source.long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    weight = (source - low).float()[:, None]
    first, last = int(low[0]), int(high[-1])
    seen = [index for index, start in enumerate(starts) if start <= last and start + window > first]
    upsample = resize_matrix(patches, window)
    stacked, hits = torch.zeros(last + 1 - first, len(seen), patches), torch.zeros(last + 1 - first, 1)
    for place, index in enumerate(seen):
        begin, end = max(starts[index], first), min(starts[index] + window, last + 1)
        stacked[begin - first : end - first, place] = upsample[begin - starts[index] : end - starts[index]]
        hits[begin - first : end - first] += 1
    averaged = stacked.flatten(1) / hits
    matrix = (
        averaged[low - first] if size == to else (1 - weight) * averaged[low - first] + weight * averaged[high - first]
    )
    return slice(seen[0], seen[-1] + 1), matrix


@torch.no_grad()
def tiles(
    members: Sequence[Member],
    rows_of: Callable[[int, int], Tensor],
    resized: tuple[int, int],
    size: tuple[int, int],
    tell: Callable[[float], None] = lambda share: None,
) -> Iterator[Tile]:
    """Logits of an image of any size, tile by tile in row-major order.

    Args:
        members: methods with the same windows on one backbone, whose decision looks at one pixel at a time.
        rows_of: the image's rows from one to another, (3, rows, W), normalized, at the size that the model sees.
        resized: (H, W) at that size.
        size: (H, W) of the original image.
        tell: told of each part of the windows that is done; the parts add up to 1.
    """
    first = members[0]
    device = first.backbone.device
    layout = Windows.over(resized, first.window, first.stride)
    grid = first.backbone.grid(*layout.window)
    keys = [(member.tokens_key, member.logits_key) for member in members]
    ready: dict[int, dict] = {}
    side = LONGEST
    top = 0
    columns: list[_Part] = []
    while top < size[0]:
        pixels = slice(top, min(top + side, size[0]))
        down, matrix = part_of_side(resized[0], layout.window[0], layout.tops, grid[0], size[0], pixels)
        ready = {index: row for index, row in ready.items() if index >= down.start}
        for index in range(down.start, down.stop):
            if index not in ready:
                ready[index] = _window_row(members, keys, rows_of, layout, index)
                tell(1 / len(layout.tops))
        if not columns:
            # Known only now how many queries there are.
            queries = max(logits.shape[1] for logits in ready[down.start].values())
            smaller = max(SHORTEST, min(LONGEST, int((block_elements(device) / queries) ** 0.5)))
            columns = _parts(resized[1], layout.window[1], layout.lefts, grid[1], size[1], smaller, device)
            if smaller < side:
                side = smaller
                continue
        matrix = matrix.to(device)
        for part in columns:
            blocks = {}
            for key in dict.fromkeys(key for _, key in keys):
                # (down, across, Q, h, w) -> (down * h, Q, across * w)
                own = torch.stack([ready[index][key][part.windows] for index in range(down.start, down.stop)])
                blocks[key] = TileLogits(own.permute(0, 3, 2, 1, 4).flatten(3).flatten(0, 1), matrix, part.matrix)
            yield Tile(pixels, part.pixels, [blocks[key] for _, key in keys])
        top = pixels.stop


def _parts(
    size: int, window: int, starts: Sequence[int], patches: int, to: int, step: int, device: torch.device
) -> list:
    parts = []
    for begin in range(0, to, step):
        pixels = slice(begin, min(begin + step, to))
        windows, matrix = part_of_side(size, window, starts, patches, to, pixels)
        parts.append(_Part(pixels, windows, matrix.to(device)))
    return parts


def _window_row(members: Sequence[Member], keys: list, rows_of: Callable, layout: Windows, index: int) -> dict:
    """Patch logits (across, Q, h, w) of a row of windows, by ``logits_key``."""
    height, width = layout.window
    rows = rows_of(layout.tops[index], layout.tops[index] + height)
    crops = [rows[:, :, left : left + width] for left in layout.lefts]
    batch = members[0].batch_of_windows(members[0].backbone.device)
    found: dict[object, list[Tensor]] = {}
    for chunk in torch.arange(len(crops)).tensor_split(-(-len(crops) // batch)):
        together = torch.stack([crops[place] for place in chunk.tolist()])
        for key, (logits, _) in patch_logits(members, keys, together, {}).items():
            found.setdefault(key, []).append(logits)
    return {key: torch.cat(parts) for key, parts in found.items()}
