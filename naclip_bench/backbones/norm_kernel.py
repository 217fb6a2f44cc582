"""A layer norm as one kernel for GPUs, with the residual before it: tokens are read and written once."""

from __future__ import annotations

import torch
import triton
from torch import Tensor, nn
from triton import language as tl

#: Rows of one program, one for each of its four warps, so that none waits for another.
ROWS = 4


@triton.jit
def _add_and_normalize(
    tokens, added, weight, bias, out, rows, width, eps, adds: tl.constexpr, at_once: tl.constexpr, places: tl.constexpr
):
    row = tl.program_id(0) * at_once + tl.arange(0, at_once)
    place = tl.arange(0, places)
    inside = place < width
    both = (row < rows)[:, None] & inside[None, :]
    at = row.to(tl.int64)[:, None] * width + place[None, :]
    token = tl.load(tokens + at, mask=both, other=0.0)
    if adds:
        total = token.to(tl.float32) + tl.load(added + at, mask=both, other=0.0).to(tl.float32)
        token = total.to(tokens.dtype.element_ty)
        tl.store(tokens + at, token, mask=both)
    value = token.to(tl.float32)
    centered = tl.where(both, value - (tl.sum(value, 1) / width)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centered * centered, 1) / width + eps)
    normal = centered * scale[:, None] * tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)[None, :]
    normal += tl.load(bias + place, mask=inside, other=0.0).to(tl.float32)[None, :]
    tl.store(out + at, normal.to(out.dtype.element_ty), mask=both)


def add_and_normalize(tokens: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> Tensor:
    """Add ``added`` to ``tokens`` in their place, where it is given, and normalize them; sums are in fp32.

    Tensors are contiguous, on a GPU or in Triton's interpreter (``TRITON_INTERPRET=1``).
    """
    out = torch.empty_like(tokens)
    width = tokens.shape[-1]
    rows = tokens.numel() // width
    given = tokens if added is None else added
    constants = added is not None, ROWS, triton.next_power_of_2(width)
    _add_and_normalize[(triton.cdiv(rows, ROWS),)](
        tokens, given, norm.weight, norm.bias, out, rows, width, norm.eps, *constants, num_warps=4
    )
    return out
