"""CLIP Surgery: A Closer Look at the Explainability of CLIP (Li et al.; Pattern Recognition 2025, arXiv 2304.05653).

Architecture surgery: beside CLIP's own path a second one adds up v-v attention, softmax(v v^T / sqrt(d)) v, over
the last blocks, without feed-forward networks. Feature surgery: each query is weighted by how much the whole
image speaks of it, and what all queries have in common is taken away.

Where released code and paper differ:
- Six blocks have the second path; its attention sees the untouched path's tokens.
- [CLS] of the result is the untouched path's.
- Position embeddings are interpolated bilinearly; the code knows square images only, this takes any.
- 85 templates: OpenAI's 80 and five more.
- The demo stretches each class's map to 0..1, which makes classes incomparable; for segmentation the similarities
  are the logits as they are, with the common scale and threshold. There is no released evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk, attend
from ..backbones.families import CLS, EVERYTHING
from ..settings import Count
from .base import TrainingFreeSegmentor
from .last_block import unit_values


@MODELS.register_module()
class CLIPSurgery(TrainingFreeSegmentor):
    """Run CLIP Surgery.

    Args:
        feature_surgery: weight the queries and take away what they share; else plain cosines.
        changed_blocks: how many of the last blocks attend by values.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    positions = 'bilinear'

    def __init__(
        self, feature_surgery: bool = True, changed_blocks: Count = 6, templates: str = 'openai_85', **kwargs: object
    ) -> None:
        super().__init__(templates=templates, **kwargs)
        self.feature_surgery, self.changed_blocks = feature_surgery, changed_blocks

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return EVERYTHING if settings['feature_surgery'] else EVERYTHING - {CLS}

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        tokens, second = trunk.tokens.clone(), trunk.tokens.clone()
        for block in self.backbone.blocks[self.shared_depth :]:
            _, _, value = block.qkv(tokens, trunk.rotation)
            second += block.output(attend(value, value, value))
            block.add_(tokens, rotation=trunk.rotation)
        before = self.backbone.prefix
        second[:, :before] = tokens[:, :before]
        return self.backbone.head(second)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        tokens = self.tokens_before_last_block(trunk)
        value = self.backbone.blocks[-1].qkv(tokens, trunk.rotation)[2]
        return attend(value, value, unit_values(value))

    def match(self, tokens: Tensor, text: Tensor, trunk: Trunk) -> Tensor:
        cosines = F.normalize(tokens, dim=-1) @ text.T
        patches = self.patches(cosines)
        if not self.feature_surgery:
            return patches
        weights = (2 * cosines[:, :1]).softmax(-1)
        weighted = patches * weights / weights.mean(-1, keepdim=True)
        return weighted - weighted.mean(-1, keepdim=True)
