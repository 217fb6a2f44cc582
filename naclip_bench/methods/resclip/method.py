"""ResCLIP: Residual Attention for Training-free Dense Vision-language Inference (CVPR 2025).

NACLIP's last block, softmax(k k^T / sqrt(d) + omega) v without residual and feed-forward network, with two additions:

- Residual cross-correlation (RCS): the weights A become tau ((1 - lambda) A + lambda A_c), where A_c is the mean of
  CLIP's own attention maps in the sixth to ninth block, head by head.
- Semantic feedback (SFR): a first pass segments the window. The scores k k^T / sqrt(d) of the second pass become
  tau ((1 - lambda) k k^T / sqrt(d) + lambda M), where M says which patches got the same class; see
  :mod:`.feedback`. omega is added behind.

Where the released code says more than the paper, this follows the code:
- Query words compete in the first pass, not classes: patches of two synonyms are of different classes.
- The first pass is refined by PAMR (10 iterations, dilations 8 and 16) on the window's own pixels; a pixel whose
  highest probability is under ``temp_thd`` counts as the first query.
- M is 0 in the row and column of [CLS], and rounded to half precision; so is lambda M.
- A stray comma keeps both additions on whatever the released config says. Here each can be left out.

Weights and threshold are tuned a dataset in the released configs (``configs/official``). The defaults are those of
COCO-Object and COCO-Stuff, the only ones that two datasets share (PC59 has the weights too), for every dataset alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...backbones.families import INNER_BLOCKS, SELF_ATTENTION
from ...errors import BenchError
from ...inference.decide import decide
from ...inference.pamr import PAMR
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...settings import Indices, PositiveFloat, Probability
from ..base import TrainingFreeSegmentor
from ..last_block import gaussian_neighborhood
from .feedback import patch_labels, same_class


@MODELS.register_module()
class ResCLIP(TrainingFreeSegmentor):
    """Run ResCLIP.

    Args:
        rcs: (tau, lambda) of the residual cross-correlation, or None to leave it out.
        sfr: (tau, lambda) of the semantic feedback, or None to leave it out. With neither this is NACLIP.
        blocks: those, from 0, whose attention maps the cross-correlation averages.
        sigma: standard deviation of NACLIP's Gaussian, in patches.
        temp_thd: probability under which a pixel of the first pass counts as the first query.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        rcs: tuple[PositiveFloat, Probability] | None = (2.0, 0.4),
        sfr: tuple[PositiveFloat, Probability] | None = (1.8, 0.7),
        temp_thd: Probability = 0.11,
        blocks: Indices = (5, 6, 7, 8),
        sigma: PositiveFloat = 5.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        if rcs is not None:
            if self.shared_depth <= max(blocks):
                raise BenchError(
                    f'ResCLIP.blocks is {blocks}; with this backbone they must be under {self.shared_depth}'
                )
            self.inner_attention = blocks
        self.rcs, self.sfr, self.temp_thd, self.sigma = rcs, sfr, temp_thd, sigma
        self.reads_text = sfr is not None
        self.first_pass_refine = PAMR(iterations=10, dilations=(8, 16))

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {SELF_ATTENTION, *([INNER_BLOCKS] if settings['rcs'] is not None else [])}

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        _, key, value = self.backbone.blocks[-1].qkv(trunk.tokens, trunk.rotation)
        return self.output_tokens(self.weights(key, value, trunk), value)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        _, key, value = self.backbone.blocks[-1].qkv(trunk.tokens, trunk.rotation)
        return self.weights(key, value, trunk)

    def output_tokens(self, weights: Tensor, value: Tensor) -> Tensor:
        """Gather values (N, heads, T, d) by weights (N, heads, T, T): tokens (N, T, embed_dim) after the head."""
        return self.backbone.head(self.backbone.blocks[-1].output(weights @ value))

    def weights(self, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        """Compute the last block's attention weights (N, heads, T, T) from its keys and values (N, heads, T, d)."""
        scores = (key @ key.transpose(-1, -2) * key.shape[-1] ** -0.5).float()
        weights = self.residual_weights(scores, trunk).to(value)
        if self.sfr is None:
            return weights
        tau, share = self.sfr
        same = same_class(self.first_pass(self.output_tokens(weights, value).float(), trunk), trunk.grid)
        before = self.backbone.prefix
        same = F.pad((same * share).to(scores), (before, 0, before, 0))
        scores = scores.mul_(tau * (1 - share)).add_(same[:, None], alpha=tau)
        return self.residual_weights(scores, trunk).to(value)

    def residual_weights(self, scores: Tensor, trunk: Trunk) -> Tensor:
        """Compute weights (N, heads, T, T) in fp32 from scores of the same shape: omega, softmax, RCS."""
        omega = gaussian_neighborhood(trunk.grid, self.sigma, scores.dtype, scores.device, self.backbone.prefix)
        weights = (scores + omega).softmax(-1)
        if self.rcs is None:
            return weights
        tau, share = self.rcs
        weights *= tau * (1 - share)
        for block in self.inner_attention:
            weights.add_(trunk.attention[block], alpha=tau * share / len(self.inner_attention))
        return weights

    def first_pass(self, tokens: Tensor, trunk: Trunk) -> Tensor:
        """Find the query of each patch, (N, h * w), where the first pass gave ``tokens`` (N, T, embed_dim)."""
        text, _, multiplicity = self.text
        queries = torch.arange(len(text), device=text.device)
        cosines = self.match(tokens, text, trunk).transpose(1, 2).unflatten(2, trunk.grid)
        size = tuple(trunk.images.shape[-2:])
        whole = Windows.over(size, None, 1)
        labels = []
        # PAMR's weights are a window's own.
        for image, logits in zip(trunk.images.float(), cosines.split(1), strict=True):
            refined = self.first_pass_refine(PixelLogits(logits, whole, size), image)
            labels.append(decide(refined, queries, multiplicity, self.logit_scale, self.temp_thd))
        return patch_labels(torch.stack(labels), trunk.grid, self.backbone.patch, len(text))
