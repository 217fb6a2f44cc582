"""ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary Segmentation (Lan et al.; ECCV 2024, arXiv 2408.04883).

The last block gathers CLIP's values by how alike patches are to a vision foundation model, DINO above all (eqs. 4 to
6): with S the cosines of the helper's patch features,

    softmax((S - beta * mean(S)) * gamma, negative entries -inf) v,

one map for all heads, on the helper's grid, to which the values are upsampled (bilinear). No residual, no feed-forward
network, no [CLS].

Where released code and paper differ, or the code fails, this follows:
- The mean is over all pairs of a window, the diagonal included; the code's is over its batch, which is one window.
- Where mean(S) is above 1 / beta (nearly uniform windows), no entry of a row is left, and the code gives NaN. Here such
  a patch sees itself alone.
- The code mixes up rows and columns of windows that are not square; here they are right.
- A window whose sides are no multiples of a patch is padded by the code; here CLIP does not see the remainder, as with
  every method, and the helper sees what CLIP sees.
- The code runs helper, attention and CLIP in half precision; here the settings of each decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk
from ..helpers import Helper, build_helper
from ..settings import NonNegativeFloat, PositiveFloat
from .base import TrainingFreeSegmentor


def proxy_attention(features: Tensor, beta: float, gamma: float, together: bool = False) -> Tensor:
    """Attention weights (N, h * w, h * w) from a helper's patch features (N, C, h, w); each row sums to 1.

    Args:
        together: the windows have one mean of their similarities, in place of each its own.
    """
    unit = F.normalize(features.flatten(2).transpose(1, 2), dim=-1)
    alike = unit @ unit.transpose(1, 2)
    shift = beta * alike.mean((0, 1, 2) if together else (1, 2), keepdim=True)
    weights = alike.sub_(shift).mul_(gamma)
    # A patch is the most like itself: where it does not reach what is needed to be seen, none does.
    itself = weights.diagonal(dim1=1, dim2=2)
    weights.masked_fill_(weights < 0, -torch.inf)
    itself.masked_fill_(weights.amax(-1).isinf(), 0)
    return weights.softmax(-1)


@MODELS.register_module()
class ProxyCLIP(TrainingFreeSegmentor):
    """Run ProxyCLIP.

    Args:
        helper: a :class:`Helper` that gives features, or the arguments of one: ``dict(type='ViT', ...)``.
        beta, gamma: shift and scale of the similarities (eq. 5); the paper's supplement: 1.0 to 1.6, and 2 to 5.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    looks_at = (('helper', 'tokens'),)

    def __init__(
        self,
        helper: Helper | dict,
        beta: NonNegativeFloat = 1.2,
        gamma: PositiveFloat = 3.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.helper = build_helper(helper)
        self.beta, self.gamma = beta, gamma

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return set()  # the values alone

    def token_grid(self, trunk: Trunk) -> tuple[int, int]:
        return tuple(self.seen(trunk, 'helper', 'tokens').shape[-2:])

    def gathered(self, values: Tensor, trunk: Trunk) -> Tensor:
        """Gather values (N, C, h, w) on CLIP's grid: (N, H * W, C) on the helper's."""
        features = self.seen(trunk, 'helper', 'tokens')
        values = F.interpolate(values.float(), size=features.shape[-2:], mode='bilinear', align_corners=False)
        weights = trunk.once_of_images(
            ('proxy attention', self.helper, self.beta, self.gamma),
            lambda: proxy_attention(features, self.beta, self.gamma),
        )
        return weights @ values.flatten(2).transpose(1, 2)

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        block = self.backbone.blocks[-1]
        values = block.qkv(trunk.tokens, trunk.rotation)[2].transpose(1, 2).flatten(2)
        values = self.patches(values).transpose(1, 2).unflatten(2, trunk.grid)
        out = self.gathered(values, trunk).to(self.backbone.dtype)
        tokens = self.backbone.head(block.project(out))
        # There is no [CLS].
        return F.pad(tokens, (0, 0, self.backbone.prefix, 0))

    def attention_weights(self, trunk: Trunk) -> Tensor:
        """As for every method; what the helper's patches gather, averaged over those that lie in one of CLIP's."""
        windows, count = len(trunk.tokens), trunk.grid[0] * trunk.grid[1]
        values = torch.eye(count, device=trunk.tokens.device).unflatten(1, trunk.grid).expand(windows, -1, -1, -1)
        weights = self.gathered(values, trunk).transpose(1, 2).unflatten(2, self.token_grid(trunk))
        weights = F.adaptive_avg_pool2d(weights, trunk.grid).flatten(2).transpose(1, 2)
        heads, before = self.backbone.blocks[-1].heads, self.backbone.prefix
        return F.pad(weights[:, None].expand(-1, heads, -1, -1), (before, 0, before, 0))
