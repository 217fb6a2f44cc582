"""GEM: Grounding Everything, Emerging Localization Properties in Vision-Language Transformers (Bousselham et al.; CVPR
2024, arXiv 2312.00878).

Beside CLIP's own path a second one runs through the last blocks: for each of z = v, k, q, tokens are clustered by
repeated self-self attention z <- softmax(tau z z^T) z on normalized z, the values are gathered by the last such
map, and the mean of the three, through the output projection, is added up (no feed-forward network).

Where released code and paper differ:
- ``depth`` 7 means six blocks.
- The attention's input is always the untouched path's; only the sums run along the second path.
- tau is the mean norm of the block's normalized tokens ([CLS] included, full width) / sqrt(d), one number a window.
- Position embeddings are interpolated antialiased and without the 0.1 of the SCLIP family.
- Text is the one prompt "a photo of a {}."; there is no evaluation code, so scale and threshold are the common
  ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk
from ..backbones.blocks import Block
from ..backbones.families import CLS, EVERYTHING
from ..errors import BenchError
from ..settings import NonNegativeInt, PositiveFloat
from .base import TrainingFreeSegmentor


@MODELS.register_module()
class GEM(TrainingFreeSegmentor):
    """Run GEM.

    Args:
        depth: blocks of the second path plus one, as the released code counts.
        iterations: how often tokens are clustered before the last assignment.
        temperature: tau; None for the rule above.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    positions = 'antialias'

    def __init__(
        self,
        depth: int = 7,
        iterations: NonNegativeInt = 1,
        temperature: PositiveFloat | None = None,
        templates: str = 'photo',
        **kwargs: object,
    ) -> None:
        super().__init__(templates=templates, **kwargs)
        deepest = len(self.backbone.blocks) + 1
        if not 2 <= depth <= deepest:
            raise BenchError(f'GEM.depth is {depth}; with this backbone it must be from 2 to {deepest}')
        self.changed_blocks = depth - 1
        self.iterations, self.temperature = iterations, temperature

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return EVERYTHING - {CLS}

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        tokens, second = trunk.tokens.clone(), trunk.tokens.clone()
        for block in self.backbone.blocks[self.shared_depth :]:
            weights, value = self.self_self_attention(block, tokens, trunk)
            second += block.output(weights @ value)
            block.add_(tokens, rotation=trunk.rotation)
        return self.backbone.head(second)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        tokens = self.tokens_before_last_block(trunk)
        return self.self_self_attention(self.backbone.blocks[-1], tokens, trunk)[0]

    def self_self_attention(self, block: Block, tokens: Tensor, trunk: Trunk) -> tuple[Tensor, Tensor]:
        """Compute the mean of the three assignments, (N, heads, T, T), and the block's values, (N, heads, T, d)."""
        query, key, value = block.qkv(tokens, trunk.rotation)
        if self.temperature is None:
            norm = block.normalized(tokens).norm(dim=-1).mean(-1)
            tau = (norm * query.shape[-1] ** -0.5)[:, None, None, None]
        else:
            tau = self.temperature
        weights = 0
        for features in (value, key, query):
            for _ in range(self.iterations):
                features = F.normalize(features, dim=-1)
                features = (features @ features.transpose(-1, -2) * tau).softmax(-1) @ features
            features = F.normalize(features, dim=-1)
            weights = weights + (features @ features.transpose(-1, -2) * tau).softmax(-1)
        return weights / 3, value
