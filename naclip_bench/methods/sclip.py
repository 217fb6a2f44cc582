"""SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference (Wang, Mei, Yuille; ECCV 2024, arXiv
2312.01597).

The last block attends by correlative self-attention (eq. 3),

    softmax(q q^T / tau) v + softmax(k k^T / tau) v,   tau = sqrt(d);

the rows of the sum add up to 2, and residual and feed-forward network are kept, as in the released code.

The other attentions are the paper's ablations. Their code was not released; the choices here:
- ``identity``, ``q``, ``k``, ``random`` (Table 2) take X = ln_1(tokens), X W_q, X W_k or X W_i, split into CLIP's
  heads, with tau = sqrt(d) of a head. W_i is normal with deviation width^-0.5, drawn from the seed; attention is
  averaged over them.
- ``learned`` (Table 2) takes X W_r with a matrix learned from training images; how, says
  :mod:`.learned_projection`.
- ``sharpen`` (Table 3) is softmax(q k^T / tau), CLIP's own with another tau (CLIP: 8); tau 0 is a hard maximum.
- ``local`` (Table 3) lets a patch see the patches in a square around it, and not [CLS]: with a window of one that
  is the identity attention, as the paper says. [CLS] sees all.
- ``early`` (Table 3) borrows CLIP's attention map from an earlier block, counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk, attend
from ..backbones.families import INNER_BLOCKS, RESIDUALS, SELF_ATTENTION
from ..errors import BenchError
from ..settings import Count, NonNegativeFloat, NonNegativeInt, OddCount
from .last_block import LastBlockSegmentor
from .learned_projection import read_projection


@lru_cache(maxsize=64)
def local_mask(grid: tuple[int, int], side: int, dtype: torch.dtype, device: torch.device, prefix: int = 1) -> Tensor:
    """Mask token pairs, (prefix + h * w, prefix + h * w): 0 where a token sees another, -inf elsewhere.

    Args:
        grid: (h, w) patches.
        side: patches of the square around a patch; odd.
        prefix: how many tokens stand before the patches; they see all, and no patch sees them.
    """
    near = [(axis[:, None] - axis).abs() <= side // 2 for axis in (torch.arange(n, device=device) for n in grid)]
    seen = (near[0][:, None, :, None] & near[1][None, :, None, :]).flatten(2).flatten(0, 1)
    seen = F.pad(F.pad(seen, (prefix, 0)), (0, 0, prefix, 0), value=True)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, -torch.inf)


@lru_cache(maxsize=4)
def random_projections(count: int, width: int, seed: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Draw random projections (count, width, width), the same for a seed on every device."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, width, width, generator=generator) * width**-0.5).to(device, dtype)


@MODELS.register_module()
class SCLIP(LastBlockSegmentor):
    """Run SCLIP, or an ablation of its Tables 2 and 3.

    Args:
        attention: ``csa``, or one of the ablations above.
        projections: how many random matrices (``random``).
        seed: of the random matrices; the paper's values are means over five.
        projection: file of the matrix (``learned``); see :func:`read_projection`.
        tau: temperature of ``sharpen``; 0 for a hard maximum.
        local_side: side of the square in patches (``local``); odd.
        layer: block whose attention map is borrowed, from 1 (``early``).
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    whole_block = True

    def __init__(
        self,
        attention: Literal['csa', 'identity', 'q', 'k', 'random', 'learned', 'sharpen', 'local', 'early'] = 'csa',
        projections: Count = 1,
        seed: NonNegativeInt = 0,
        projection: str | Path | None = None,
        tau: NonNegativeFloat = 2.0,
        local_side: OddCount = 3,
        layer: Count = 1,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        if attention == 'early' and layer > self.shared_depth:
            raise BenchError(f'SCLIP.layer is {layer}; with this backbone it must be at most {self.shared_depth}')
        self.attention, self.projections, self.seed = attention, projections, seed
        self.tau, self.local_side, self.layer = tau, local_side, layer
        if attention == 'early':
            self.inner_attention = (layer - 1,)
        if attention == 'learned':
            if projection is None:
                raise BenchError(
                    "SCLIP.projection is None; attention='learned' needs the file that naclip-bench learn writes"
                )
            matrix, digest = read_projection(Path(projection), self.backbone)
            self.register_buffer('learned', matrix, persistent=False)
            self.digests = {'projection': digest}

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {SELF_ATTENTION, RESIDUALS, *([INNER_BLOCKS] if settings['attention'] == 'early' else [])}

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        if self.attention == 'csa':
            return attend(query, query, value) + attend(key, key, value)
        if self.attention == 'q':
            return attend(query, query, value)
        if self.attention == 'k':
            return attend(key, key, value)
        if self.attention == 'local':
            mask = local_mask(trunk.grid, self.local_side, query.dtype, query.device, self.backbone.prefix)
            return attend(query, key, value, mask)
        if self.attention == 'early':
            return trunk.attention[self.layer - 1] @ value
        if self.attention == 'sharpen':
            products = query @ key.transpose(-1, -2)
            if self.tau == 0:
                return F.one_hot(products.argmax(-1), products.shape[-1]).to(value) @ value
            return (products / self.tau).softmax(-1) @ value
        block = self.backbone.blocks[-1]
        tokens = block.normalized(trunk.tokens)
        if self.attention == 'identity':
            features = block.split(tokens)
            return attend(features, features, value)
        if self.attention == 'learned':
            features = block.split(tokens @ self.learned.to(tokens.dtype))
            return attend(features, features, value)
        matrices = random_projections(self.projections, tokens.shape[-1], self.seed, tokens.dtype, tokens.device)
        features = [block.split(tokens @ matrix) for matrix in matrices]
        return sum(attend(feature, feature, value) for feature in features) / self.projections
