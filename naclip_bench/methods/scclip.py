"""SC-CLIP: Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation (Bai et al.; arXiv 2411.15869).

[CLS] is taken out before the last block; patches are calibrated in three steps, each a switch:

1. ``repair``: the 5 % of patches with the highest local outlier factor take the mean of their 3x3 neighbors.
2. ``aggregation``, the paper's self-adjusting: patches are averaged over those like them in a middle block, the last
   block attends by the mean of k-k attention and a softmax of that similarity, and its output is averaged over the
   patches alike in a shallow block. Off: k-k attention alone.
3. ``multi_level``: the sum of the inner blocks' outputs goes through the same last block, and is added.

The last block has neither residual nor feed-forward network; 0.3 times each pass's [CLS] is added to all patches.

What the released code does, its stored outputs settling what descriptions leave open:
- A reachability distance takes the patch's own k-distance where Breunig et al. take the neighbor's. It is then the
  same for all k neighbors, and the factor is the patch's k-distance over its neighbors' (their harmonic mean);
  distances are squared.
- The middle block's patches are repaired at the same places, the last block's outliers; the shallow block's and the
  sum of levels are not repaired, and the sum is not averaged over patches alike before the last block.
- The repair's row index is divided by the height: non-square windows fail there, and are right here.

Choices where the outputs do not tell:
- An outlier whose neighbors are all outliers stays as it is.
- In fewer than 32 patches half of them are neighbors (were all others, the two farthest apart would always tie). A
  patch alone is no outlier.
- Other depths than 12 blocks take the blocks at the same fraction of the depth.
- The output's [CLS] row is what was added to all patches, by itself.
- The attention told is that of the first pass; nothing goes to or comes from [CLS].
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk, attend
from ..backbones.families import CLS, INNER_BLOCKS, SELF_ATTENTION
from .base import TrainingFreeSegmentor
from .last_block import unit_values

#: Nearest patches that an outlier factor compares with; one in how many patches counts as outlier.
NEIGHBORS, RARITY = 30, 20
#: Cosine under which patches are not alike, and the factor of the centered cosines in the attention's softmax.
ALIKE, SHARPNESS = 0.4, 3.0
CLS_WEIGHT = 0.3
#: Blocks of twelve, from 0, whose outputs are looked at.
SHALLOW, MIDDLE, LEVELS = 3, 8, range(3, 10)


def outliers(patches: Tensor) -> Tensor:
    """Find the outliers of each window among its patches (N, T, width), in fp32: (N, T) bool."""
    count = patches.shape[1]
    if count == 1:
        return torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
    distances = torch.cdist(patches, patches).square()
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest, neighbors = distances.topk(NEIGHBORS if count > NEIGHBORS + 1 else count // 2, largest=False)
    reach = nearest[..., -1:] + 1e-10  # Equal patches are at no distance.
    factor = (reach / reach.flatten(1).gather(1, neighbors.flatten(1)).view_as(nearest)).mean(-1)
    # Above the 95 % quantile, which the order statistic below it tells without the rounding of an interpolation.
    return factor > factor.kthvalue((count - 1) * (RARITY - 1) // RARITY + 1, dim=1, keepdim=True).values


def neighbor_means(patches: Tensor, broken: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the neighbors, of eight, that are not ``broken`` (N, h * w), of the patches (N, h * w, width) that are.

    Returns:
        the means, 0 where there are none, and (N, h * w, 1) bool whether there are some.
    """
    whole = (~broken).to(patches)[..., None]
    maps = torch.cat([patches * whole, whole], dim=-1).transpose(1, 2).unflatten(2, grid)
    # Sums over 3x3 but for a factor, which the division by the count takes out.
    near = F.avg_pool2d(maps, 3, stride=1, padding=1).flatten(2).transpose(1, 2)
    total, number = near[..., :-1], near[..., -1:]
    # A ninth is the least that a neighbor counts.
    return total / number.clamp(min=0.1), number > 0


def repaired(patches: Tensor, broken: Tensor, grid: tuple[int, int]) -> Tensor:
    """Replace the ``broken`` (N, h * w) of the patches (N, h * w, width) by the mean of their whole neighbors."""
    means, some = neighbor_means(patches, broken, grid)
    return torch.where(broken[..., None] & some, means, patches)


def similarity(patches: Tensor) -> Tensor:
    """Compute the cosines (N, T, T) of patches (N, T, width)."""
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(1, 2)


def aggregated(patches: Tensor, alike: Tensor) -> Tensor:
    """Average patches (N, T, width) over those alike, weighted by similarity (N, T, T)."""
    weights = alike.masked_fill(alike < ALIKE, 0)
    return weights @ patches / (weights.sum(-1, keepdim=True) + 1e-6)


def similarity_attention(alike: Tensor) -> Tensor:
    """Turn similarity (N, T, T) into attention weights; what is below the window's mean is not seen."""
    scores = (alike - alike.mean((1, 2), keepdim=True)) * SHARPNESS
    # Where all patches are the same, rounding may put even the most alike below 0; it is seen all the same.
    lowest = scores.amax(-1, keepdim=True).clamp(max=0)
    return scores.masked_fill(scores < lowest, -torch.inf).softmax(-1)


@MODELS.register_module()
class SCCLIP(TrainingFreeSegmentor):
    """Run SC-CLIP.

    Args:
        repair: replace outliers by their neighbors.
        aggregation: let patches alike in inner blocks share features and attention.
        multi_level: add a second pass on the sum of inner blocks' outputs.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self, repair: bool = True, aggregation: bool = True, multi_level: bool = True, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.repair, self.aggregation, self.multi_level = repair, aggregation, multi_level
        blocks = len(self.backbone.blocks)
        self.shallow, self.middle, *levels = (
            max((index + 1) * blocks // 12 - 1, 0) for index in (SHALLOW, MIDDLE, *LEVELS)
        )
        self.levels = levels if multi_level else []
        self.inner_outputs = tuple(sorted({*self.levels, *((self.shallow, self.middle) if aggregation else ())}))

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        inner = settings['aggregation'] or settings['multi_level']
        return {CLS, SELF_ATTENTION, *([INNER_BLOCKS] if inner else [])}

    def calibrated(self, trunk: Trunk) -> tuple[Tensor, Tensor | None]:
        """Compute patches (N, T, width) for the last block, and its similarity attention (N, T, T), if any; in fp32."""
        patches = self.patches(trunk.tokens).float()
        middle = self.patches(trunk.outputs[self.middle]).float() if self.aggregation else None
        if self.repair:
            broken = outliers(patches)
            patches = repaired(patches, broken, trunk.grid)
            middle = repaired(middle, broken, trunk.grid) if self.aggregation else None
        if not self.aggregation:
            return patches, None
        alike = similarity(middle)
        return aggregated(patches, alike), similarity_attention(alike)

    def last_block(self, patches: Tensor, weights: Tensor | None, rotation: Tensor | None) -> Tensor:
        """Run the last block's attention on patches (N, T, width), through its output projection."""
        block = self.backbone.blocks[-1]
        _, key, value = block.qkv(patches.to(self.backbone.dtype), rotation)
        out = attend(key, key, value)
        if weights is not None:
            out = (out + weights[:, None].to(value) @ value) / 2
        return block.output(out)

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        patches, weights = self.calibrated(trunk)
        cls = trunk.tokens[:, :1].float()
        out = self.last_block(patches, weights, trunk.rotation).float()
        if self.multi_level:
            summed = sum(trunk.outputs[level].float() for level in self.levels)
            cls = cls + summed[:, :1]
            out += self.last_block(self.patches(summed), weights, trunk.rotation)
        cls = CLS_WEIGHT * cls
        out += cls
        if self.aggregation:
            out = aggregated(out, similarity(self.patches(trunk.outputs[self.shallow]).float()))
        cls = cls.expand(-1, self.backbone.prefix, -1)
        return self.backbone.head(torch.cat([cls, out], dim=1).to(self.backbone.dtype))

    def attention_weights(self, trunk: Trunk) -> Tensor:
        patches, weights = self.calibrated(trunk)
        _, key, _ = self.backbone.blocks[-1].qkv(patches.to(self.backbone.dtype), trunk.rotation)
        attention = attend(key, key, unit_values(key))
        if weights is not None:
            attention = (attention + weights[:, None].to(attention)) / 2
        before = self.backbone.prefix
        return F.pad(attention, (before, 0, before, 0))
