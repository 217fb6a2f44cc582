"""SFP: Feature Purification Matters (Jin, Yu, Zhang, Sun, Dong, Xiao; ICCV 2025).

[CLS] is taken out before the last block, and the patches are purified as SC-CLIP's are, with other rules:

1. Outliers, at most ten a window: patches that [CLS] attends to in the block before the last, half as much again, more
   than they attend to themselves (``outliers='SOM'``, the paper's self-adaptive mitigator); those of the largest norm
   (``L2``); or SC-CLIP's, one in twenty (``LOF``). They take the mean of those of their eight neighbors that are none.
2. Patches are averaged over those alike in block 9, whose outliers are smoothed at the same places.
3. The last block's weights are the mean of q-q attention, k-k attention and a softmax of that similarity; its output
   is averaged over the patches alike in block 4.
4. The sum of the outputs of blocks 4 to 10 goes through the last block by the softmax of the similarity alone, is
   averaged likewise, and is added.

The last block has neither residual nor feed-forward network; 0.3 times each pass's [CLS] is added to all patches.

Where the released code says more than the paper, this follows the code, but for one: it takes an outlier's row from its
index by the number of rows, so that windows that are not square fail or smooth the wrong patch; here they are right.

Choices where the code does not tell:
- Other depths than 12 blocks take the blocks at the same fraction of the depth.
- The output's [CLS] row is what was added to all patches, by itself.
- The attention told is that of the first pass; nothing goes to or comes from [CLS].
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk, attend
from ..backbones.families import CLS, INNER_BLOCKS, SELF_ATTENTION
from .base import TrainingFreeSegmentor
from .last_block import unit_values
from .scclip import (
    ALIKE,
    CLS_WEIGHT,
    LEVELS,
    MIDDLE,
    SHALLOW,
    aggregated,
    neighbor_means,
    similarity,
    similarity_attention,
)
from .scclip import outliers as local_outliers

#: Outliers of a window, at most, by attention or norm.
MOST = 10
#: Factor of what [CLS] attends to, before it is compared.
EAGERNESS = 5.0 * CLS_WEIGHT


def highest(scores: Tensor) -> Tensor:
    """Find the highest ten scores (N, T) of each window that are above minus infinity: (N, T) bool."""
    found, places = scores.topk(min(MOST, scores.shape[1]))
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, places, found.isfinite())


def overattended(attention: Tensor, prefix: int = 1) -> Tensor:
    """Find the patches that [CLS] attends to more than they do themselves.

    Args:
        attention: (N, T, T), [CLS] first.
        prefix: how many tokens stand before the patches.
    """
    of_cls, of_itself = EAGERNESS * attention[:, 0, prefix:], attention.diagonal(dim1=1, dim2=2)[:, prefix:]
    return highest(of_cls.masked_fill(of_cls <= of_itself, -torch.inf))


def smoothed(patches: Tensor, broken: Tensor, grid: tuple[int, int]) -> Tensor:
    """Replace outliers among patches (N, h * w, width) by the mean of their neighbors that are none; 0 of none."""
    return torch.where(broken[..., None], neighbor_means(patches, broken, grid)[0], patches)


def alikeness(patches: Tensor) -> Tensor:
    """Compute the cosines (N, T, T) of patches (N, T, width), 0 where they are not alike."""
    cosines = similarity(patches)
    return cosines.masked_fill(cosines < ALIKE, 0)


@MODELS.register_module()
class SFP(TrainingFreeSegmentor):
    """Run SFP.

    Args:
        outliers: which patches are smoothed.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(self, outliers: Literal['SOM', 'L2', 'LOF'] = 'SOM', **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.outliers = outliers
        blocks = len(self.backbone.blocks)
        self.shallow, self.middle, *self.levels = (
            max((index + 1) * blocks // 12 - 1, 0) for index in (SHALLOW, MIDDLE, *LEVELS)
        )
        self.inner_outputs = tuple(sorted({self.shallow, self.middle, *self.levels}))
        self.inner_attention = (self.shared_depth - 1,) if outliers == 'SOM' else ()

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {CLS, SELF_ATTENTION, INNER_BLOCKS}

    def broken(self, trunk: Trunk) -> Tensor:
        """Find the outliers, (N, h * w) bool."""
        if self.outliers == 'SOM':
            return overattended(trunk.attention[self.shared_depth - 1].float().mean(1), self.backbone.prefix)
        patches = self.patches(trunk.tokens).float()
        return highest(patches.norm(dim=-1)) if self.outliers == 'L2' else local_outliers(patches)

    def purified(self, trunk: Trunk) -> tuple[Tensor, Tensor]:
        """Compute patches (N, T, width) for the last block, and its similarity attention (N, T, T); in fp32."""
        broken = self.broken(trunk)
        patches, middle = (
            smoothed(self.patches(tokens).float(), broken, trunk.grid)
            for tokens in (trunk.tokens, trunk.outputs[self.middle])
        )
        alike = alikeness(middle)
        return aggregated(patches, alike), similarity_attention(alike)

    def enhanced(self, patches: Tensor, weights: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Run the last block's attention on patches (N, T, width), through its output projection."""
        block = self.backbone.blocks[-1]
        query, key, value = block.qkv(patches.to(self.backbone.dtype), rotation)
        gathered = attend(query, query, value) + attend(key, key, value) + weights[:, None].to(value) @ value
        return block.output(gathered / 3).float()

    def integrated(self, patches: Tensor, weights: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Let the inner blocks' sum (N, T, width) go through the last block by ``weights`` (N, T, T) alone."""
        block = self.backbone.blocks[-1]
        _, _, value = block.qkv(patches.to(self.backbone.dtype), rotation)
        return block.output(weights[:, None].to(value) @ value).float()

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        patches, weights = self.purified(trunk)
        summed = sum(trunk.outputs[level].float() for level in self.levels)
        cls = CLS_WEIGHT * (trunk.tokens[:, :1].float() + summed[:, :1])
        out = self.enhanced(patches, weights, trunk.rotation)
        out = out + self.integrated(self.patches(summed), weights, trunk.rotation) + cls
        out = aggregated(out, alikeness(self.patches(trunk.outputs[self.shallow]).float()))
        cls = cls.expand(-1, self.backbone.prefix, -1)
        return self.backbone.head(torch.cat([cls, out], dim=1).to(self.backbone.dtype))

    def attention_weights(self, trunk: Trunk) -> Tensor:
        patches, weights = self.purified(trunk)
        query, key, _ = self.backbone.blocks[-1].qkv(patches.to(self.backbone.dtype), trunk.rotation)
        units = unit_values(key)
        attention = (attend(query, query, units) + attend(key, key, units) + weights[:, None].to(units)) / 3
        before = self.backbone.prefix
        return F.pad(attention, (before, 0, before, 0))
