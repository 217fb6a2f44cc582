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

What the paper writes and the code has not: eq. 12 as it stands (``gaussian``: omega without that number), eq. 13
(``qk_gaussian``: CLIP's own similarity plus omega), and eq. 15 with q or v in the place of k.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal

from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk, attend
from ..backbones.families import RESIDUALS, SELF_ATTENTION
from ..settings import PositiveFloat
from .last_block import LastBlockSegmentor, gaussian_neighborhood, unit_values

#: Whose products omega is added to, by the attention's name.
SIMILARITIES = {'naclip': 'kk', 'qk_gaussian': 'qk', 'qq_gaussian': 'qq', 'vv_gaussian': 'vv'}


@MODELS.register_module()
class NACLIP(LastBlockSegmentor):
    """Run NACLIP, or an ablation of its Tables 3 and 4.

    Args:
        arch: ``reduced`` (attention output only) or ``vanilla`` (residual and feed-forward network kept).
        attention: ``naclip`` (k-k plus Gaussian), ``nonly`` (scaled Gaussian alone), ``kk`` (k-k alone), ``csa`` (q-q
            plus k-k, as in SCLIP), ``vanilla`` (q-k, CLIP's own); ``gaussian`` (eq. 12), ``qk_gaussian`` (eq. 13),
            ``qq_gaussian``, ``vv_gaussian``.
        sigma: standard deviation of the Gaussian, in patches.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        arch: Literal['reduced', 'vanilla'] = 'reduced',
        attention: Literal[
            'naclip', 'nonly', 'kk', 'csa', 'vanilla', 'gaussian', 'qk_gaussian', 'qq_gaussian', 'vv_gaussian'
        ] = 'naclip',
        sigma: PositiveFloat = 5.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.whole_block, self.attention, self.sigma = arch == 'vanilla', attention, sigma

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {SELF_ATTENTION, RESIDUALS} if settings['arch'] == 'vanilla' else {SELF_ATTENTION}

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        return self.gather(value, query, key, value, trunk)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        query, key, value = self.backbone.blocks[-1].qkv(trunk.tokens, trunk.rotation)
        return self.gather(unit_values(query), query, key, value, trunk)

    def gather(self, what: Tensor, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        """Compute what every token gathers of ``what``, (N, heads, T, d) or (N, heads, T, T), in its shape."""
        if self.attention == 'kk':
            return attend(key, key, what)
        if self.attention == 'csa':
            return attend(query, query, what) + attend(key, key, what)
        if self.attention == 'vanilla':
            return attend(query, key, what)
        omega = gaussian_neighborhood(trunk.grid, self.sigma, key.dtype, key.device, self.backbone.prefix)
        if self.attention in SIMILARITIES:
            seeking, sought = (dict(q=query, k=key, v=value)[name] for name in SIMILARITIES[self.attention])
            return attend(seeking, sought, what, omega)
        if self.attention == 'gaussian':
            return omega.softmax(-1) @ what
        # The mean over all pairs of a product of norms is the product of their means, head by head.
        norms = query.norm(dim=-1).mean(-1) * key.norm(dim=-1).mean(-1)
        scale = norms.mean(-1) * query.shape[-1] ** -0.5
        weights = (omega * scale[:, None, None]).softmax(-1)
        return weights[:, None] @ what
