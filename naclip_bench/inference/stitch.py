"""Patch logits of an image's windows to logits of its pixels, as two matrix products.

The released code upsamples each window's patch logits to the window (bilinear), adds them into an image-sized buffer,
divides by how many windows saw a pixel, and resizes to the original size (bilinear). Every step is linear and acts on
rows and columns apart, so for one image size all of it is ``logits[q] = R_h @ L[q] @ R_w.T``, where L[q] holds the
windows' patch grids side by side. The two matrices are built once a size, and no tensor of queries x height x width is
made unless someone asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .windows import Windows

T = TypeVar('T')

#: Elements of a block of logits: on a CPU one that stays in its cache, on an accelerator one that fills it.
BLOCK_ELEMENTS = {'cpu': 2**20, 'cuda': 2**27}


#: How many sides' matrices are kept, about 100 kB each: COCO and ADE20K have hundreds of lengths.
SIDES = 1024


def block_elements(device: torch.device) -> int:
    return BLOCK_ELEMENTS.get(device.type, BLOCK_ELEMENTS['cuda'])


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor from the CPU to a device, without a wait for what is computed there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == 'cuda' else tensor.to(device)


def resize_matrix(size: int, to: int) -> Tensor:
    """(to, size) in fp32: bilinear resizing along one side (align_corners=False), the weights torch itself uses."""
    return F.interpolate(torch.eye(size)[None], size=to, mode='linear', align_corners=False)[0].T.contiguous()


@dataclass(frozen=True)
class Side:
    """One side of an image's windows, rows or columns.

    Attributes:
        size: pixels of the side of the resized image.
        window: pixels of a window along this side.
        starts: first pixel of each window.
        patches: patches of a window along this side, stretched over the whole window.
        to: pixels of the side of the original image.
    """

    size: int
    window: int
    starts: tuple[int, ...]
    patches: int
    to: int


@lru_cache(maxsize=SIDES)
def patch_order(side: Side, device: torch.device) -> Tensor:
    """Patches of all windows, counted window by window, in the order in which they lie in the image.

    So ordered, the patches that a band of pixels sees are neighbors, and a slice of them is no copy.
    """
    centers = torch.arange(side.patches) + 0.5
    places = torch.tensor(side.starts)[:, None] + centers * side.window / side.patches
    return sent(places.flatten().argsort(stable=True), device)


@lru_cache(maxsize=SIDES)
def side_matrix(side: Side, device: torch.device) -> Tensor:
    """R of one side, (to, windows * patches): upsample, average over the windows, resize to the original side.

    Columns are in :func:`patch_order`.
    """
    upsample = resize_matrix(side.patches, side.window)
    stacked = torch.zeros(side.size, len(side.starts), side.patches)
    hits = torch.zeros(side.size)
    for index, start in enumerate(side.starts):
        stacked[start : start + side.window, index] = upsample
        hits[start : start + side.window] += 1
    averaged = stacked.flatten(1)[:, patch_order(side, torch.device('cpu'))] / hits[:, None]
    return sent(resize_matrix(side.size, side.to) @ averaged if side.to != side.size else averaged, device)


@lru_cache(maxsize=SIDES)
def side_bands(side: Side, band: int, device: torch.device) -> list[tuple[slice, slice, Tensor]]:
    """R of one side in bands of ``band`` pixels: (pixels, the patches they see, their part of R).

    A band sees a few patches of each window over it; the rest of its rows of R is zero and left out.
    """
    matrix, bands = side_matrix(side, torch.device('cpu')), []
    for first in range(0, side.to, band):
        part = matrix[first : first + band]
        nonzero = part.any(dim=0).nonzero()
        seen = slice(int(nonzero.min()), int(nonzero.max()) + 1)
        bands.append((slice(first, first + len(part)), seen, sent(part[:, seen].contiguous(), device)))
    return bands


class Shared:
    """What several methods look at, and what they have computed from it; see :meth:`once`."""

    #: How many images these are.
    images = 1

    @cached_property
    def computed(self) -> dict[Hashable, object]:
        return {}

    def once(self, what: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, computed by the first method that asks; to be read only."""
        if what not in self.computed:
            self.computed[what] = compute()
        return self.computed[what]

    def contenders(self) -> Tensor | None:
        """Queries that can win a pixel, where it pays to know them; None: any of them."""
        return None


class PixelLogits(Shared):
    """Logits of every query at every pixel of one image, computed block by block when they are needed.

    Of several images (:meth:`together`) the queries of each follow those of the one before.

    Args:
        patches: (windows, Q, h, w) patch logits in fp32, windows in the order of ``windows``.
        windows: where they lie.
        size: (height, width) of the original image.
        notes: what a method's decision needs of each window besides.
    """

    def __init__(self, patches: Tensor, windows: Windows, size: tuple[int, int], notes: Sequence[object] = ()) -> None:
        self.size, self.notes, self._of_windows = size, notes, patches
        (height, width), (window_height, window_width) = windows.size, windows.window
        self._down = Side(height, window_height, windows.tops, patches.shape[2], size[0])
        self._across = Side(width, window_width, windows.lefts, patches.shape[3], size[1])

    @classmethod
    def together(cls, images: Sequence[PixelLogits]) -> PixelLogits:
        """Several images whose windows lie alike, of one size and with as many queries; without their notes."""
        found = images[0]._with(torch.cat([image._of_windows for image in images], dim=1))
        found.notes, found.images = (), len(images)
        return found

    def only(self, queries: Tensor) -> PixelLogits:
        """The same of some queries alone."""
        return self._with(self._of_windows[:, queries])

    def _with(self, patches: Tensor) -> PixelLogits:
        found = copy(self)
        # Of what was computed of the others nothing is true of these.
        found.__dict__.pop('_patches', None)
        found.computed, found._of_windows = {}, patches
        return found

    @property
    def queries(self) -> int:
        return self._of_windows.shape[1]

    @property
    def device(self) -> torch.device:
        return self._of_windows.device

    def of_patches(self) -> Tensor:
        """Logits (Q, n) of all patches of all windows."""
        return self._of_windows.transpose(0, 1).flatten(1)

    @cached_property
    def _patches(self) -> Tensor:
        """(patch rows, Q, patch columns) of the image, in :func:`patch_order`."""
        sides = self._down, self._across
        down, across = (len(side.starts) for side in sides)
        # (down, across, Q, h, w) -> (down, h, Q, across, w): window rows stacked, window columns side by side.
        stacked = self._of_windows.unflatten(0, (down, across)).permute(0, 3, 2, 1, 4)
        stacked = stacked.flatten(3).flatten(0, 1)
        rows, columns = (patch_order(side, self.device) for side in sides)
        return stacked[rows][:, :, columns]

    def of_model(self) -> PixelLogits:
        """The same at the size of the image that the windows were cut from."""
        found = copy(self)
        found.computed = {}
        found._down, found._across = (replace(side, to=side.size) for side in (self._down, self._across))
        found.size = (self._down.size, self._across.size)
        return found

    def _wide(self, queries: slice) -> Tensor:
        """Logits (patch rows, q * W): at the image's columns, not yet at its rows."""
        return (self._patches[:, queries] @ side_matrix(self._across, self.device).T).flatten(1)

    def query_block(self, queries: slice) -> Tensor:
        """Logits of some queries at all pixels, (H, q, W)."""
        return (side_matrix(self._down, self.device) @ self._wide(queries)).unflatten(1, (-1, self.size[1]))

    def pixel_rows(self, queries: slice, width: int) -> Tensor:
        """Logits of some queries at all pixels, (H * W, width): a row a pixel, zeros behind its queries."""
        wide = self._patches[:, queries] @ side_matrix(self._across, self.device).T
        rows = wide.new_zeros(len(wide), self.size[1], width)
        rows[..., : wide.shape[1]] = wide.transpose(1, 2)
        return (side_matrix(self._down, self.device) @ rows.flatten(1)).view(-1, width)

    def regions(self) -> Iterator[tuple[slice, Iterator[tuple[slice, Tensor]]]]:
        """Bands of rows that together make the image, each with the blocks of queries that together make the band.

        Yields:
            rows, and an iterator over (queries, logits (rows, q, W)); here one block holds all queries.
        """
        every = slice(0, self.queries)
        wide = self._wide(every)
        band = min(max(1, block_elements(self.device) // (self.queries * self.size[1])), self.size[0])
        for rows, seen, weights in side_bands(self._down, band, self.device):
            yield rows, iter([(every, (weights @ wide[seen]).unflatten(1, (-1, self.size[1])))])

    def full(self) -> Tensor:
        """All logits at once, (Q, H, W); for soft output and for tests."""
        return self.query_block(slice(0, self.queries)).transpose(0, 1).contiguous()
