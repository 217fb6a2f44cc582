"""DenseCRF: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials (Krähenbühl and Koltun, 2011).

Every pixel is tied to every other by two kernels of positions p in pixels and colors I from 0 to 255 (eq. 3):

    appearance    exp(-|p_i - p_j|^2 / 2 a^2 - |I_i - I_j|^2 / 2 b^2)
    smoothness    exp(-|p_i - p_j|^2 / 2 g^2)

and the mean field of the Potts model (algorithm 1) is, again and again,

    Q_i(c) = softmax over classes c of  u_i(c) + sum over kernels of  w sum_j k(i, j) Q_j(c).

As in the authors' released code and beyond the paper, kernels are normalized symmetrically, k(i, j) / sqrt(n_i n_j)
with n_i = sum_j k(i, j), and the sums have j = i in them. Both are filtered on the permutohedral lattice, which
approximates a Gaussian; labels equal the released code's.

Labels are classes, not queries: synonyms do not compete. u is the logarithm of a class's probability, the highest of
its synonyms'. The thresholds of the decision stand before the field, which sharpens probabilities, so that behind it
they would mean nothing: class 0 has at least the probability ``prob_thd``, and what ``area_thd`` takes out is no label.
Without weights, all of this is the decision without a refinement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BenchError
from ..settings import Count, NonNegativeFloat, PositiveFloat, checked
from .decide import NOT_FINITE, allowed_queries
from .permutohedral import PermutohedralLattice
from .refinement import Refinement, lower_chunk
from .stitch import PixelLogits

#: Queries of a class that are looked at together.
SYNONYMS = 32


@dataclass(frozen=True)
class Kernel:
    """A Gaussian of pixels' features, normalized symmetrically.

    Attributes:
        lattice: around the pixels.
        scale: (H * W, 1), 1 / sqrt(n).
    """

    lattice: PermutohedralLattice
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Kernel:
        """The kernel of features (H * W, d) in units of its standard deviation."""
        lattice = PermutohedralLattice(features)
        return cls(lattice, lattice.filter(torch.ones_like(features[:, :1])).rsqrt_())

    def __call__(self, values: Tensor) -> Tensor:
        """Kernel times values (H * W, c)."""
        return self.lattice.filter(values * self.scale).mul_(self.scale)


class DenseCRF(Refinement):
    """The settings of the refinement.

    Args:
        iterations: how often messages are passed.
        appearance_weight, appearance_sigma, color_sigma: of the appearance kernel; pixels of the original image, and
            values of 0 to 255.
        smoothness_weight, smoothness_sigma: of the smoothness kernel; pixels.
        query_chunk: how many classes are filtered at once; None: what suits the device and the image. Lower it when
            memory runs out. It changes no result but by rounding.

    Attributes:
        normalized: mean and deviation of each channel with which colors of 0 to 255 were normalized before they come
            here; see :func:`build_refinement`.
    """

    @checked
    def __init__(
        self,
        iterations: Count = 10,
        appearance_weight: NonNegativeFloat = 4.0,
        appearance_sigma: PositiveFloat = 67.0,
        color_sigma: PositiveFloat = 3.0,
        smoothness_weight: NonNegativeFloat = 3.0,
        smoothness_sigma: PositiveFloat = 1.0,
        query_chunk: Count | None = None,
    ) -> None:
        self.iterations, self.query_chunk = iterations, query_chunk
        self.appearance_weight, self.smoothness_weight = appearance_weight, smoothness_weight
        self.appearance_sigma, self.color_sigma = appearance_sigma, color_sigma
        self.smoothness_sigma = smoothness_sigma
        self.normalized: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (1.0,) * 3)

    @property
    def image_key(self) -> Hashable:
        return type(self), self.appearance_sigma, self.color_sigma, self.normalized

    def neighborhood(self, image: Tensor, size: tuple[int, int]) -> Kernel:
        with self.out_of_memory_named(size, 'lower test_dataloader.batch_size'):
            resized = F.interpolate(image[None].float(), size=size, mode='bilinear', align_corners=False)[0]
            mean, deviation = resized.new_tensor(self.normalized)[..., None]
            colors = (resized.flatten(1) * deviation + mean) / self.color_sigma
            features = torch.cat([places(size, image.device) / self.appearance_sigma, colors.T], dim=1)
            if not features.isfinite().all():
                raise BenchError('DenseCRF: an image has colors that are not finite')
            return Kernel.of(features)

    def __call__(self, logits: PixelLogits, image: Tensor, near: Kernel | None = None) -> FieldLogits:
        return FieldLogits(logits, near or self.neighborhood(image, logits.size))

    def decide(
        self,
        logits: FieldLogits,
        query_class: Tensor,
        multiplicity: Tensor,
        scale: float,
        prob_thd: float = 0.0,
        area_thd: float | None = None,
    ) -> Tensor:
        """Labels (H, W) int64 of one image; see :func:`naclip_bench.inference.decide.decide`."""
        size, appearance = logits.size, logits.appearance
        allowed = allowed_queries(logits.unrefined, query_class, multiplicity, scale, area_thd)
        unary = Unary(logits.unrefined, query_class, multiplicity, scale, prob_thd, allowed)
        chunks = self.chunks(unary.classes, size, logits.device)
        with self.out_of_memory_named(size, lower_chunk(chunks[0].stop)):
            # One array of all classes, written over; a message needs no other class than its own.
            field = torch.empty(size[0] * size[1], unary.classes, device=logits.device)
            for iteration in range(self.iterations + 1):
                for chunk in chunks:
                    part = unary(chunk)
                    if iteration:
                        part += self.messages(field[:, chunk].contiguous(), appearance, size)
                    field[:, chunk] = part
                if iteration < self.iterations:
                    for rows in field.split(2**16):
                        rows.copy_(rows.softmax(1))
            best, labels = field.max(1)
            return labels.masked_fill_(~best.isfinite(), NOT_FINITE).view(size)

    def messages(self, field: Tensor, appearance: Kernel, size: tuple[int, int]) -> Tensor:
        """Weighted sum of both kernels times Q, (H * W, c)."""
        smoothness = smoothness_kernel(size, self.smoothness_sigma, field.device)
        out = smoothness(field).mul_(self.smoothness_weight)
        return out.add_(appearance(field), alpha=self.appearance_weight)


class FieldLogits:
    """Logits of an image and its appearance kernel: all that :meth:`DenseCRF.decide` needs."""

    def __init__(self, logits: PixelLogits, appearance: Kernel) -> None:
        self.unrefined, self.appearance = logits, appearance
        self.size, self.queries, self.device, self.notes = logits.size, logits.queries, logits.device, logits.notes

    def full(self) -> NoReturn:
        """Refuse: the field refines the probabilities of classes.

        Raises:
            BenchError: always.
        """
        raise BenchError('DenseCRF refines labels and gives no logits; set model.refine to PAMR or to None for these')


class Unary:
    """Logarithms of classes' probabilities, up to one number a pixel, made of the logits whenever they are needed.

    Args:
        allowed: (Q,) queries that take part in the decision; None: all. For the others see :func:`decide`.
    """

    def __init__(
        self,
        logits: PixelLogits,
        query_class: Tensor,
        multiplicity: Tensor,
        scale: float,
        prob_thd: float,
        allowed: Tensor | None,
    ) -> None:
        self._logits, self._scale = logits, scale
        self.classes = int(query_class[-1]) + 1
        # Queries are sorted by class; a class all of whose words stand in an earlier one has none.
        edges = torch.searchsorted(query_class, torch.arange(self.classes + 1, device=query_class.device)).tolist()
        keep = [True] * logits.queries if allowed is None else allowed.tolist()
        self._queries = [slice(first, end if first < end and keep[first] else first) for first, end in pairwise(edges)]
        self._lowest_of_first = self._total(multiplicity) + math.log(prob_thd) if prob_thd > 0 else None

    def __call__(self, classes: slice) -> Tensor:
        """Of some classes, (H * W, c)."""
        height, width = self._logits.size
        out = torch.full((height, width, classes.stop - classes.start), -torch.inf, device=self._logits.device)
        for column, queries in enumerate(self._queries[classes]):
            for block in self._blocks(queries):
                out[..., column] = torch.maximum(out[..., column], block.amax(1))
        if classes.start == 0 and self._lowest_of_first is not None:
            out[..., 0] = torch.maximum(out[..., 0], self._lowest_of_first)
        return out.flatten(0, 1)

    def _blocks(self, queries: slice) -> Iterator[Tensor]:
        for first in range(queries.start, queries.stop, SYNONYMS):
            yield self._logits.query_block(slice(first, min(first + SYNONYMS, queries.stop))) * self._scale

    def _total(self, multiplicity: Tensor) -> Tensor:
        """Logarithm of the softmax's denominator, (H, W)."""
        total = torch.full(self._logits.size, -torch.inf, device=self._logits.device)
        parts = multiplicity.log().split(SYNONYMS)
        for block, counted in zip(self._blocks(slice(0, self._logits.queries)), parts, strict=True):
            total = torch.logaddexp(total, (block + counted[:, None]).logsumexp(1))
        return total


@lru_cache(maxsize=8)
def smoothness_kernel(size: tuple[int, int], sigma: float, device: torch.device) -> Kernel:
    """The smoothness kernel of all images of a size."""
    return Kernel.of(places(size, device) / sigma)


def places(size: tuple[int, int], device: torch.device) -> Tensor:
    """(H * W, 2), columns before rows, as in the released code: simplices are not alike in all directions."""
    return torch.cartesian_prod(*(torch.arange(side, device=device) for side in size)).flip(1)
