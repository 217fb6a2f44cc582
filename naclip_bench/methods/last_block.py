"""What methods share that put another attention into the last block, and keep or leave out what is around it."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk
from .base import TrainingFreeSegmentor


@lru_cache(maxsize=64)
def gaussian_neighborhood(
    grid: tuple[int, int], sigma: float, dtype: torch.dtype, device: torch.device, prefix: int = 1
) -> Tensor:
    """Compute omega of NACLIP (eq. 10 and 11) for every pair of tokens.

    Args:
        grid: (h, w) patches.
        sigma: standard deviation of the Gaussian, in patches.
        prefix: how many tokens stand before the patches.

    Returns:
        (prefix + h * w, prefix + h * w); rows and columns of what stands before the patches ([CLS]) are 0.
    """
    rows, columns = (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
    vertical, horizontal = ((axis[:, None] - axis).square() for axis in (rows, columns))
    distance = vertical[:, None, :, None] + horizontal[None, :, None, :]
    gaussian = torch.exp(-distance / (2 * sigma**2)).flatten(2).flatten(0, 1)
    return F.pad(gaussian, (prefix, 0, prefix, 0)).to(dtype)


def unit_values(like: Tensor) -> Tensor:
    """Make values of which any attention gathers its own weights: the unit vectors, (N, heads, T, T).

    Args:
        like: (N, heads, T, d) queries, keys or values.
    """
    tokens = like.shape[2]
    return torch.eye(tokens, dtype=like.dtype, device=like.device).expand(*like.shape[:2], tokens, tokens)


class LastBlockSegmentor(TrainingFreeSegmentor):
    """Let the last block attend differently; a subclass implements :meth:`attended`."""

    #: The last block's residuals and feed-forward network stay around the attention; else its output is the encoder's.
    whole_block = False

    @abstractmethod
    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        """Attend as the method does, linearly in ``value``.

        Args:
            query, key, value: (N, heads, T, d) of the last block; not to be written over.
            trunk: where they came from.

        Returns:
            (N, heads, T, d): what every token gathered.
        """

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        block = self.backbone.blocks[-1]
        query, key, value = trunk.once('last qkv', lambda: block.qkv(trunk.tokens, trunk.rotation))
        out = block.output(self.attended(query, key, value, trunk))
        return self.backbone.head(block.surround(trunk.tokens, out) if self.whole_block else out)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        query, key, _ = self.backbone.blocks[-1].qkv(trunk.tokens, trunk.rotation)
        return self.attended(query, key, unit_values(query), trunk)
