"""Graphs of keys: how far the spectra of two heads lie apart, which heads make a pair, and what a graph is in short.

A graph over n tokens is the Gram matrix K K^T of a head's keys (n, d). Its eigenvalues are those of K^T K, its
eigenvectors K times those, so that d x d matrices are taken apart in place of n x n ones; in fp64, and the same every
time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...optional import needed

#: Eigenvalues of a graph that are compared.
COMPARED = 20

#: Rank of what is kept of a graph.
RANK = 10

#: What the singular values that are kept are stretched to, in shares of the smallest and of the largest.
STRETCHED = (0.5, 1.5)

#: Cost of a pair for each square of how far apart the two heads' numbers are.
PREFERENCE = 1e-6


def rescaled(values: Tensor, low: Tensor, high: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Map values so that they reach from ``low`` to ``high`` along some axes; all ``low`` where they are all equal."""
    first, last = values.amin(axes, keepdim=True), values.amax(axes, keepdim=True)
    return low + (values - first) / torch.where(last > first, last - first, 1) * (high - low)


def gram(keys: Tensor) -> Tensor:
    """K^T K in fp64, (..., d, d), of keys (..., n, d)."""
    keys = keys.double()
    return keys.transpose(-1, -2) @ keys


def spectrum(keys: Tensor) -> Tensor:
    """The largest eigenvalues (..., 20) of K K^T in ascending order, divided by their sum; 0 where there are fewer.

    The released code divides by their norm first, which their sum takes away again.
    """
    values = torch.linalg.eigvalsh(gram(keys))[..., -COMPARED:].clamp(min=0)
    values = F.pad(values, (COMPARED - values.shape[-1], 0))
    return values / values.sum(-1, keepdim=True)


def spectra_apart(helper: Tensor, clip: Tensor) -> Tensor:
    """Sum of the differences of spectra (N, helper's heads, CLIP's heads), of keys (N, heads, n, d)."""
    return (spectrum(helper)[:, :, None] - spectrum(clip)[:, None]).abs().sum(-1)


def paired(apart: Tensor) -> tuple[Tensor, Tensor]:
    """Pair each head of CLIP with one of the helper.

    The cost of a pair is 1 less how far apart it is, so the least cost pairs heads that complement each other. What the
    assignment gives as (helper's i, CLIP's j) the released code reads as (CLIP's i, helper's j), at the cost of [i, j].

    Where the helper's spectra fall faster than CLIP's, or slower, throughout, a cost is a difference of two numbers,
    one a head, and the sums of all pairings are equal. The code's rounding decides then; here heads of near numbers do.

    Args:
        apart: (N, heads, heads), see :func:`spectra_apart`.

    Returns:
        the helper's heads (N, heads) by CLIP's, and how far apart the code takes them to be, (N, heads).
    """
    assign = needed('scipy.optimize', 'helpers', 'CASS').linear_sum_assignment
    numbers = torch.arange(apart.shape[1])
    preference = PREFERENCE * (numbers[:, None] - numbers).square()
    partners = [assign(1 - of_window.cpu() + preference)[1] for of_window in apart]
    partners = torch.stack([torch.from_numpy(of_window) for of_window in partners]).to(apart.device)
    return partners, apart.gather(2, partners[..., None])[..., 0]


def in_short(keys: Tensor, stretch: bool) -> Tensor:
    """The best approximation of rank 10 to K K^T, (..., n, n) in fp32, of keys (..., n, d).

    Args:
        stretch: the singular values, from the smallest to the largest that are kept, reach from half to half as much
            again.
    """
    count = min(RANK, *keys.shape[-2:])
    values, vectors = (part[..., -count:] for part in torch.linalg.eigh(gram(keys)))
    # Where the keys have less than this rank there is nothing in a direction, and no length to divide by.
    values = values.clamp(min=torch.finfo(values.dtype).tiny)
    left = (keys.double() @ vectors) / values.sqrt()[..., None, :]
    if stretch:
        low, high = (share * values[..., [end]] for share, end in zip(STRETCHED, (0, -1), strict=True))
        values = rescaled(values, low, high, (-1,))
    return ((left * values[..., None, :]) @ left.transpose(-1, -2)).float()
