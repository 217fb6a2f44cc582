"""Layer norms, and residuals before them.

On a GPU by a kernel of our own (:mod:`.norm_kernel`): sum and norm of many tokens in one pass over them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from torch import Tensor, nn

#: Tokens from which the kernel is faster: it takes longer to start than torch's, and fewer are done by then.
MANY = 2**14


def normalize(norm: nn.Module, tokens: Tensor) -> Tensor:
    """Normalize tokens (..., width)."""
    kernel = _kernel_for(norm, tokens)
    return kernel(tokens, None, norm) if kernel else norm(tokens)


def add_and_normalize(norm: nn.Module, tokens: Tensor, added: Tensor) -> Tensor:
    """Add ``added`` to tokens (..., width) in their place, and give them normalized."""
    kernel = _kernel_for(norm, tokens)
    if kernel and added.is_contiguous() and added.dtype == tokens.dtype:
        return kernel(tokens, added, norm)
    tokens += added
    return normalize(norm, tokens)


def _kernel_for(norm: nn.Module, tokens: Tensor) -> Callable[[Tensor, Tensor | None, nn.LayerNorm], Tensor] | None:
    """The kernel, where it computes what ``norm`` does."""
    if not (tokens.is_cuda and tokens.is_contiguous() and isinstance(norm, nn.LayerNorm)):
        return None
    if tokens.numel() < MANY * tokens.shape[-1]:
        return None
    known = norm.normalized_shape == (tokens.shape[-1],) and norm.weight is not None and norm.bias is not None
    return kernel() if known else None


@cache
def kernel() -> Callable[[Tensor, Tensor | None, nn.LayerNorm], Tensor] | None:
    """The kernel; None without Triton, which comes with torch's builds for GPUs."""
    try:
        return import_module('.norm_kernel', __package__).add_and_normalize
    except ImportError:
        return None
