"""One iteration of PAMR as one kernel for GPUs: sums stay in registers, and only the mean is written."""

from __future__ import annotations

import torch
import triton
from torch import Tensor
from triton import language as tl

#: Pixels and queries of one program: 512 sums, 4 for each thread of four warps.
PIXELS, QUERIES = 16, 32


@triton.jit
def _average(
    maps, index, affinity, out, pixels, queries, neighbors: tl.constexpr, per_pixel: tl.constexpr, at_once: tl.constexpr
):
    pixel = tl.program_id(0) * per_pixel + tl.arange(0, per_pixel)
    query = tl.program_id(1) * at_once + tl.arange(0, at_once)
    inside = pixel < pixels
    both = inside[:, None] & (query < queries)[None, :]
    total = tl.zeros((per_pixel, at_once), dtype=tl.float32)
    for neighbor in range(neighbors):
        at = pixel.to(tl.int64) * neighbors + neighbor
        there = tl.load(index + at, mask=inside, other=0).to(tl.int64)
        weight = tl.load(affinity + at, mask=inside, other=0.0)
        row = tl.load(maps + there[:, None] * queries + query[None, :], mask=both, other=0.0)
        total += weight[:, None] * row.to(tl.float32)
    tl.store(out + pixel.to(tl.int64)[:, None] * queries + query[None, :], total.to(out.dtype.element_ty), mask=both)


def average(maps: Tensor, index: Tensor, affinity: Tensor) -> Tensor:
    """Average as :func:`naclip_bench.inference.pamr.average` does, in the same order of additions.

    Tensors are contiguous, on a GPU or in Triton's interpreter (``TRITON_INTERPRET=1``).
    """
    out = torch.empty_like(maps)
    pixels, queries = maps.shape
    grid = triton.cdiv(pixels, PIXELS), triton.cdiv(queries, QUERIES)
    _average[grid](maps, index, affinity, out, pixels, queries, index.shape[1], PIXELS, QUERIES)
    return out
