"""NACLIP: Pay Attention to Your Neighbours (Hajimiri, Ben Ayed, Dolz; WACV 2025, arXiv 2404.08181).

The last block attends by key-key similarity plus a Gaussian over neighboring patches (eq. 15),

    softmax(k k^T / sqrt(d) + omega) v,   omega_ij = exp(-||i - j||^2 / (2 sigma^2)),

and its output is the encoder's (eq. 16, the "reduced" architecture): no residual, no feed-forward network.

Where the released code says more than the paper, this follows the code:
- [CLS] stays in the attention; omega is 0 in its row and column.
- The Gaussian is not normalized, has its peak of 1 at the patch itself, is not cut off, and is added after the
  scaling by 1 / sqrt(d), to every head alike.
- "Neighborhood only" (N-Only, eq. 11) multiplies omega by one number a window, 1 / sqrt(d) times the mean over heads
  and token pairs ([CLS] included) of ||q_i|| ||k_j||.
- The released csa needs the vanilla architecture; here every cell of attention x architecture works.
"""

from __future__ import annotations

from typing import Literal

from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk, attend
from ..settings import PositiveFloat
from .last_block import LastBlockSegmentor, gaussian_neighborhood


@MODELS.register_module()
class NACLIP(LastBlockSegmentor):
    """Run NACLIP, or an ablation of its Tables 3 and 4.

    Args:
        arch: ``reduced`` (attention output only) or ``vanilla`` (residual and feed-forward network kept).
        attention: ``naclip`` (k-k plus Gaussian), ``nonly`` (Gaussian alone), ``kk`` (k-k alone), ``csa`` (q-q plus
            k-k, as in SCLIP), ``vanilla`` (q-k, CLIP's own).
        sigma: standard deviation of the Gaussian, in patches.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        arch: Literal['reduced', 'vanilla'] = 'reduced',
        attention: Literal['naclip', 'nonly', 'kk', 'csa', 'vanilla'] = 'naclip',
        sigma: PositiveFloat = 5.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.whole_block, self.attention, self.sigma = arch == 'vanilla', attention, sigma

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        if self.attention == 'kk':
            return attend(key, key, value)
        if self.attention == 'csa':
            return attend(query, query, value) + attend(key, key, value)
        if self.attention == 'vanilla':
            return attend(query, key, value)
        omega = gaussian_neighborhood(trunk.grid, self.sigma, key.dtype, key.device)
        if self.attention == 'naclip':
            return attend(key, key, value, omega)
        # The mean over all pairs of a product of norms is the product of their means, head by head.
        norms = query.norm(dim=-1).mean(-1) * key.norm(dim=-1).mean(-1)
        scale = norms.mean(-1) * query.shape[-1] ** -0.5
        weights = (omega * scale[:, None, None]).softmax(-1)
        return weights[:, None] @ value
