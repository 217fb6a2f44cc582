"""Gaussian filtering in many dimensions on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010).

A pixel is a point of d features, each divided by its standard deviation. The d + 1 coordinates of the lattice's points
sum to 0; a point lies in a simplex of d + 1 of them. Its value is split among these by barycentric weights (splat),
every lattice point is blurred with its two neighbors along each of the d + 1 axes, and pixels gather what their simplex
has then (slice). Only lattice points of simplices with a pixel in them are kept, as in the paper: the sum is linear in
pixels, and approximates the product with exp(-|f_i - f_j|^2 / 2) up to one factor.

All three steps are sparse matrices that depend on the features alone: one lattice filters any number of maps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BenchError


class PermutohedralLattice:
    """The lattice around points.

    Args:
        features: (N, d) in units of the kernel's standard deviation.

    Attributes:
        points: how many lattice points are kept.

    Raises:
        BenchError: features reach so far that lattice points cannot be told apart.
    """

    def __init__(self, features: Tensor) -> None:
        count, size = features.shape
        keys, weights = simplices(features)
        codes, steps = pack(keys)
        known, vertex = codes.flatten().unique(return_inverse=True)
        self.points = len(known)
        order = vertex.argsort(stable=True)
        # The row behind the last, always zero, is the neighbor of those that have none.
        firsts = torch.bincount(vertex, minlength=self.points + 1).cumsum(0)
        self._firsts = F.pad(firsts, (1, 0))[:-1].int()
        self._pixels, self._of_pixels = (order // (size + 1)).int(), weights.flatten()[order]
        self._vertices, self._weights = vertex.view(count, size + 1).int(), weights
        self._neighbors = [neighbors(known, step) for step in steps.tolist()]
        self._blur = features.new_tensor([0.5, 0.25, 0.25]).expand(self.points + 1, 3).contiguous()

    def splat(self, values: Tensor) -> Tensor:
        """Values (N, c) of pixels, split among lattice points: (points + 1, c), the last row 0."""
        return F.embedding_bag(self._pixels, values, self._firsts, mode='sum', per_sample_weights=self._of_pixels)

    def blur(self, values: Tensor) -> Tensor:
        """Blur (points + 1, c) along every axis in turn."""
        for index in self._neighbors:
            values = F.embedding_bag(index, values, mode='sum', per_sample_weights=self._blur)
        return values

    def slice(self, values: Tensor) -> Tensor:
        """What pixels find at the corners of their simplices: (points + 1, c) to (N, c)."""
        return F.embedding_bag(self._vertices, values, mode='sum', per_sample_weights=self._weights)

    def filter(self, values: Tensor) -> Tensor:
        """Filter maps (N, c), a row a pixel; not normalized."""
        return self.slice(self.blur(self.splat(values)))


def elevation(size: int) -> Tensor:
    """(d, d + 1) in fp64: from features to the hyperplane on which the lattice lies, paper section 3.1.

    Scaled so that splatting, blurring and slicing together have the standard deviation 1.
    """
    matrix = torch.zeros(size, size + 1, dtype=torch.float64)
    for index in range(size):
        scale = (size + 1) * math.sqrt(2 / 3) / math.sqrt((index + 1) * (index + 2))
        matrix[index, : index + 1] = scale
        matrix[index, index + 1] = -scale * (index + 1)
    return matrix


def simplices(features: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of each point's simplex, paper section 3.2.

    Returns:
        keys (N, d + 1, d + 1) int64, coordinates of corner k, whose coordinates are all k modulo d + 1; and their
        barycentric weights (N, d + 1), which sum to 1.
    """
    size = features.shape[1]
    elevated = features @ elevation(size).to(features)
    # The nearest point whose coordinates are multiples of d + 1, whose sum may have to be mended.
    nearest = (elevated / (size + 1)).round()
    excess = nearest.sum(1, keepdim=True).long()
    nearest = nearest.long() * (size + 1)
    # Rank of each coordinate by how far the point is beyond, the farthest first; the mend moves the outermost.
    rank = (elevated - nearest).argsort(dim=1, descending=True, stable=True).argsort(dim=1) + excess
    wrapped = (rank < 0).long() - (rank > size).long()
    rank, nearest = rank + wrapped * (size + 1), nearest + wrapped * (size + 1)
    beyond = (elevated - nearest) / (size + 1)
    ordered = torch.empty_like(beyond).scatter_(1, rank, beyond)
    # Weight of corner k: how far coordinate d - k is beyond the one behind it; the corner 0 has what is left.
    weights = (ordered[:, :-1] - ordered[:, 1:]).flip(1)
    weights = torch.cat([1 - weights.sum(1, keepdim=True), weights], dim=1)
    corner = torch.arange(size + 1, device=features.device)[:, None]
    canonical = torch.where(torch.arange(size + 1, device=features.device) <= size - corner, corner, corner - size - 1)
    return nearest[:, None] + canonical[:, rank].transpose(0, 1), weights


def pack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """One whole number for each lattice point, (N, d + 1) int64, and the step (d + 1,) to the next along each axis.

    The next point along axis j has all coordinates 1 higher but the j-th, which is d lower; the last coordinate
    follows from the others.

    Raises:
        BenchError: there are more lattice points than such numbers.
    """
    keys, size = keys[..., :-1], keys.shape[-1] - 1
    lowest = keys.amin((0, 1)) - size
    spans = (keys.amax((0, 1)) + 1 - lowest + 1).tolist()
    if math.prod(spans) >= 2**63:
        raise BenchError(
            'features of pixels reach too far for the permutohedral lattice; raise the standard deviations'
        )
    strides = keys.new_tensor([math.prod(spans[:index]) for index in range(size)])
    # As whole numbers, not as a matrix product, which has no such kernel on GPUs.
    codes = ((keys - lowest) * strides).sum(-1)
    steps = strides.sum() - (size + 1) * F.pad(strides, (0, 1))
    return codes, steps


def neighbors(known: Tensor, step: int) -> Tensor:
    """(points + 1, 3) int32 of sorted codes: each lattice point itself, the next and the one before along an axis.

    One that is not kept is the row behind the last.
    """
    absent = len(known)
    own = torch.arange(absent + 1, device=known.device)
    after = torch.searchsorted(known, known + step).clamp(max=absent - 1)
    after = F.pad(after.where(known[after] == known + step, absent), (0, 1), value=absent)
    before = torch.full_like(own, absent).scatter_(0, after, own)
    before[absent] = absent
    return torch.stack([own, after, before], dim=1).int()
