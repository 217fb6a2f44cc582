"""Pixel-adaptive mask refinement (Araslanov and Roth, Single-Stage Semantic Segmentation from Image Labels, CVPR 2020).

Each logit map is replaced, again and again, by a mean of its neighbors weighted by how alike their colors are. The
weights depend on the image alone, so one sparse matrix an image serves all queries, and queries are refined a few at
a time: memory stays bounded, and their number changes the result by rounding at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..settings import Count, Counts, checked
from .contenders import contenders
from .refinement import VECTOR, Refinement, lower_chunk
from .stitch import PixelLogits, Shared, sent

#: The eight neighbors in row-major order, without the center.
NEIGHBORS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]

#: Weights of neighbors that are computed at once: on a CPU as many as stay in its cache, on a GPU most images' at once.
BAND_ELEMENTS = {'cpu': 2**18, 'cuda': 2**24}

#: Channels that are computed at once: one stays in a CPU's cache, and all are fewer kernels for a GPU to launch.
CHANNELS = {'cpu': 1, 'cuda': 3}

STORAGE = {'fp32': torch.float32, 'fp16': torch.float16}


@dataclass(frozen=True)
class Neighborhood:
    """Where the neighbors of an image's pixels are, and what they weigh; every query's logits share it.

    Attributes:
        index: (H * W, 8 * dilations) int32, flat pixels.
        affinity: (H * W, 8 * dilations), each row summing to 1.
    """

    index: Tensor
    affinity: Tensor


class PAMR(Refinement):
    """The settings of the refinement.

    Args:
        iterations: how often the maps are averaged (NACLIP: 10).
        dilations: distances of the eight neighbors, in pixels of the original image (NACLIP: 8 and 16).
        query_chunk: how many queries are refined at once; None: what suits the device and the image. Lower it when
            memory runs out. It changes no result but by rounding.
        storage: what maps are kept in from one iteration to the next; sums are in fp32 always. fp16 halves what a GPU
            has to read and moves a logit by up to 2**-11 of it an iteration.
    """

    @checked
    def __init__(
        self,
        iterations: Count = 10,
        dilations: Counts = (8, 16),
        query_chunk: Count | None = None,
        storage: Literal['fp32', 'fp16'] = 'fp32',
    ) -> None:
        self.iterations, self.dilations, self.query_chunk, self.storage = iterations, dilations, query_chunk, storage

    @property
    def image_key(self) -> Hashable:
        return type(self), self.dilations

    @property
    def rounding(self) -> float:
        # Sums of 8 * dilations products, with weights that sum to 1 as far as rounding lets them, and the stitching.
        sums = len(NEIGHBORS) * len(self.dilations) + 16
        return 2 * sums * (self.iterations + 1) * torch.finfo(STORAGE[self.storage]).eps

    def __call__(self, logits: PixelLogits, image: Tensor, near: Neighborhood | None = None) -> RefinedLogits:
        """Refined logits at the original resolution.

        Args:
            logits: the logits before the softmax.
            image: (3, H, W) the image at the model's input size, in any affine scale of each color channel.
            near: what :meth:`neighborhood` gave for this image, where it is known.

        Raises:
            BenchError: out of memory. The image is never scored without its refinement.
        """
        return RefinedLogits(logits, self, near or self.neighborhood(image, logits.size))

    def neighborhood(self, image: Tensor, size: tuple[int, int]) -> Neighborhood:
        """Of every pixel of an image (3, H, W) resized to ``size``.

        Raises:
            BenchError: out of memory.
        """
        with self.out_of_memory_named(size, 'lower test_dataloader.batch_size'):
            resized = F.interpolate(image[None], size=size, mode='bilinear', align_corners=False)[0]
            return Neighborhood(neighbor_index(size, self.dilations, image.device), self.affinity(resized))

    def affinity(self, image: Tensor) -> Tensor:
        """Weights (H * W, 8 * dilations) of each pixel's neighbors; they sum to 1.

        softmax over the neighbors of the mean over channels of -|difference| / (1e-8 + 0.1 * deviation), the deviation
        being the unbiased one over the 3 x 3 patches of all dilations, centers included.
        """
        weights = image.new_empty(image[0].numel(), len(NEIGHBORS) * len(self.dilations), dtype=torch.float32)
        padded = [
            (d, F.pad(image.float()[None], (d,) * 4, mode='replicate')[0])  # (3, H + 2d, W + 2d)
            for d in self.dilations
        ]
        width = image.shape[2]
        for rows in bands(image.shape[1:], weights.shape[1], image.device):
            weights[rows.start * width : rows.stop * width] = self._affinity_of(rows, padded, width)
        return weights

    def _affinity_of(self, rows: range, padded: Sequence[tuple[int, Tensor]], width: int) -> Tensor:
        """:meth:`affinity` of some rows, of the image padded by each dilation."""
        total, centers = 0, len(self.dilations)
        first, (margin, image) = rows.start, padded[0]
        at_once = CHANNELS.get(image.device.type, CHANNELS['cuda'])
        for channel in range(0, len(image), at_once):
            taken = slice(channel, channel + at_once)
            # Differences from the center; the centers themselves differ by 0.
            neighbors = torch.stack(
                [
                    plane[taken, d + dy * d + first :, d + dx * d :][:, : len(rows), :width]
                    for d, plane in padded
                    for dy, dx in NEIGHBORS
                ]
            ).sub_(image[taken, margin + first :, margin:][:, : len(rows), :width])
            count = len(neighbors) + centers
            mean = neighbors.sum(0) / count
            # By hand: torch's own deviation along the first dimension takes ten times as long.
            squares = (neighbors - mean).square_().sum(0) + centers * mean.square()
            deviation = (squares / (count - 1)).sqrt()
            for apart in neighbors.abs_().div_(1e-8 + 0.1 * deviation).unbind(1):
                total = total - apart
        return (total / len(image)).softmax(dim=0).flatten(1).T


def bands(size: tuple[int, int], per_pixel: int, device: torch.device) -> Iterator[range]:
    """Rows of an image (H, W) that are computed at once, ``per_pixel`` numbers each.

    But for the last, bands have a multiple of 64 pixels: torch sums what is left over beside whole vectors in another
    order, and no last bit is to depend on where a band ends.
    """
    height, width = size
    elements = BAND_ELEMENTS.get(device.type, BAND_ELEMENTS['cuda'])
    least = 64 // math.gcd(width, 64)
    step = max(1, elements // (per_pixel * width * least)) * least
    return (range(first, min(first + step, height)) for first in range(0, height, step))


def average(maps: Tensor, index: Tensor, affinity: Tensor) -> Tensor:
    """Average each pixel's neighbors by their weights: one iteration, with sums in fp32.

    Args:
        maps: (n, Q), fp32 or fp16.
        index, affinity: see :class:`Neighborhood`.

    Returns:
        (n, Q) as ``maps``.
    """
    return F.embedding_bag(index, maps.float(), per_sample_weights=affinity, mode='sum').to(maps.dtype)


@cache
def kernel() -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """:func:`average` as one kernel for GPUs; None without Triton, which comes with torch's builds for them."""
    try:
        return import_module('.pamr_kernel', __package__).average
    except ImportError:
        return None


def neighbor_index(size: tuple[int, int], dilations: Sequence[int], device: torch.device) -> Tensor:
    """Flat pixel index (H * W, 8 * dilations) int32 of each pixel's neighbors; borders are replicated."""
    rows, columns = (
        (torch.arange(side, dtype=torch.int32, device=device)[:, None] + away).clamp_(0, side - 1)
        for side, away in zip(size, offsets(tuple(dilations), device), strict=True)
    )
    return (rows[:, None] * size[1] + columns).flatten(0, 1)


@cache
def offsets(dilations: tuple[int, ...], device: torch.device) -> Tensor:
    """Rows and columns (2, 8 * dilations) int32 from a pixel to its neighbors."""
    steps = torch.tensor([[dy * d, dx * d] for d in dilations for dy, dx in NEIGHBORS], dtype=torch.int32)
    return sent(steps.T.contiguous(), device)


class RefinedLogits(Shared):
    """Logits after PAMR, computed a chunk of queries at a time; used like :class:`PixelLogits`."""

    def __init__(self, logits: PixelLogits, settings: PAMR, near: Neighborhood) -> None:
        self.size, self.queries, self.device, self.notes = logits.size, logits.queries, logits.device, logits.notes
        self._logits, self._settings, self._near = logits, settings, near

    def only(self, queries: Tensor) -> RefinedLogits:
        """The same of some queries alone."""
        return type(self)(self._logits.only(queries), self._settings, self._near)

    def contenders(self) -> Tensor | None:
        rounding = self._settings.rounding
        # To wait for an accelerator's answer takes longer.
        if rounding is None or self.device.type != 'cpu':
            return None
        of_patches = self._logits.of_patches()
        return contenders(of_patches, rounding * float(of_patches.abs().max()))

    def query_block(self, queries: slice) -> Tensor:
        """Refined logits of some queries at all pixels, (H, q, W)."""
        at_once = len(range(self.queries)[queries])
        with self._settings.out_of_memory_named(self.size, lower_chunk(at_once)):
            # One row a pixel, so that a neighbor's logits of all queries lie side by side, in whole vectors.
            maps = self._logits.pixel_rows(queries, -(-at_once // VECTOR) * VECTOR)
            maps = maps.to(STORAGE[self._settings.storage])
            averaged = (kernel() if maps.is_cuda else None) or average
            for _ in range(self._settings.iterations):
                maps = averaged(maps, self._near.index, self._near.affinity)
            # The decision takes twice as long over rows with a gap behind them.
            return maps.unflatten(0, self.size)[..., :at_once].float().contiguous().transpose(1, 2)

    def regions(self) -> Iterator[tuple[slice, Iterator[tuple[slice, Tensor]]]]:
        """One region, the whole image, in blocks of queries; see :meth:`PixelLogits.regions`."""
        chunks = self._settings.chunks(self.queries, self.size, self.device)
        yield slice(0, self.size[0]), ((chunk, self.query_block(chunk)) for chunk in chunks)

    def full(self) -> Tensor:
        """All refined logits at once, (Q, H, W)."""
        blocks = [block for _, blocks in self.regions() for _, block in blocks]
        return torch.cat(blocks, dim=1).transpose(0, 1).contiguous()
