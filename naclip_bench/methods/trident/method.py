"""Trident: Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary Segmentation (Shi,
Dong, Xu; ICCV 2025, arXiv 2411.09219).

Splice, then segment: ProxyCLIP's attention (DINO's similarity) gathers the last block's values within windows, their
outputs are spliced into one map of the whole image, and SAM gathers that map over the whole image,

    A = mean over heads of attention_h where cos_h(v_i, v_j) > threshold_i, rows divided by their sums,

with SAM's last block's attention and the cosines of its values; threshold_i is ``cos_factor`` times the mean over heads
and keys, at most 0.9. Then ln_post, projection and cosines with text. No residual, no feed-forward network, no [CLS].
With ``refiner`` SAM refines the labels (:mod:`.refinement`), as in the paper's rows.

Where released code and paper differ, or the code fails, this follows:
- The mean of DINO's similarities is over all windows of an image; where it is above 1 / beta the code gives NaN for the
  whole image, and here each patch sees itself alone. Likewise a place whose attention is cut off altogether.
- Without ``negative`` thresholds below 0 become 0.6 (the code's ``refine_neg_cos``).
- Cityscapes' images are seen by SAM in two halves (``halves`` of the helper ``sam``), refinement included.
- No outputs of the released refinement were at hand; where what is known of it leaves a choice, :mod:`.refinement` says
  what is done.
- Not here: a side that is brought to at least 336 pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...errors import BenchError
from ...helpers import Affinity, Helper, PromptedSAM, Prompts, build_helper
from ...helpers.sam import halves_of
from ...inference.pamr import PAMR
from ...inference.soft import class_probabilities
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...settings import NonNegativeFloat, Probability
from ...timing import STOPWATCH
from ..proxyclip import ProxyCLIP, proxy_attention
from ..stages import LOGITS
from .refinement import refined

#: The highest threshold, and what takes the place of those below 0.
HIGHEST, LOWEST = 0.9, 0.6


@MODELS.register_module()
class Trident(ProxyCLIP):
    """Run Trident.

    Args:
        sam: a :class:`Helper` that gives affinity, or the arguments of one: ``dict(type='SAM', ...)``.
        cos_factor: of the mean cosine in the threshold; the authors: 1.2, Cityscapes 3, VOC20 0.
        negative: thresholds below 0 stay.
        refiner: a :class:`PromptedSAM` with the weights of ``sam``, or the arguments of one; None: SAM refines
            nothing.
        confidence: probability under which a pixel prompts nothing; the authors: 0.05 to 0.25, as the threshold.
        quality: predicted IoU that a mask must exceed.
        **kwargs: see :class:`ProxyCLIP`.
    """

    whole_patches = True

    def __init__(
        self,
        sam: Helper | dict,
        cos_factor: NonNegativeFloat = 1.2,
        negative: bool = True,
        refiner: Helper | dict | None = None,
        confidence: Probability = 0.1,
        quality: Probability = 0.8,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.sam = build_helper(sam, 'model.sam')
        self.cos_factor, self.negative = cos_factor, negative
        self.refiner = build_helper(refiner, 'model.refiner') if refiner is not None else None
        self.confidence, self.quality = confidence, quality
        if self.refiner is not None:
            if not isinstance(self.refiner, PromptedSAM):
                raise BenchError("model.refiner gives no masks by prompts; its type must be 'PromptedSAM'")
            if (self.refiner.side, self.refiner.width) != (self.sam.side, self.sam.encoder.embed_dim):
                raise BenchError(
                    f'model.refiner is a SAM of width {self.refiner.width} for {self.refiner.side} pixels, model.sam '
                    f'of width {self.sam.encoder.embed_dim} for {self.sam.side}; they must be one and the same'
                )
            if not isinstance(self.refine, PAMR | None):
                raise BenchError('model.refine must be PAMR or None with model.refiner, which needs its logits')

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[tuple[Tensor, Tensor]]:
        """Values (C, h, w) on CLIP's grid and the helper's features of each window."""
        patches = self.patches(trunk.tokens)
        values = self.backbone.blocks[-1].qkv(patches, trunk.rotation)[2].transpose(1, 2).flatten(2)
        values = values.transpose(1, 2).unflatten(2, trunk.grid)
        return [*zip(values, self.seen(trunk, 'helper', 'tokens'), strict=True)]

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[tuple[Tensor, Tensor]],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, tuple[Affinity, ...]],
    ) -> PixelLogits:
        vectors = self.text.vectors
        with STOPWATCH.stage('method', patches.device), self._reading(LOGITS):
            values, features = (torch.stack(part) for part in zip(*notes, strict=True))
            spliced = self.spliced(self.window_outputs(values, features), windows)
            parts = whole['sam']
            of_parts = [spliced[..., part] for part in _columns(spliced, parts)]
            logits = torch.cat(
                [self.place_logits(*part, vectors) for part in zip(of_parts, parts, strict=True)], dim=-1
            )
        with STOPWATCH.stage('stitch+decide', patches.device):
            return PixelLogits(logits[None], Windows.over(size, None, 1), size, parts)

    def place_logits(self, spliced: Tensor, affinity: Affinity, vectors: Tensor) -> Tensor:
        """Logits (Q, h, w) on SAM's grid, of the windows' outputs (C, rows, columns) where SAM looks."""
        spliced = F.interpolate(spliced[None], size=affinity.grid, mode='bilinear', align_corners=False)
        gathered = self.aggregated(spliced[0].flatten(1).T, affinity)
        tokens = self.backbone.head(gathered.to(self.backbone.dtype)).float()
        return (F.normalize(tokens, dim=-1) @ vectors.T).T.unflatten(1, affinity.grid)

    def decide(self, logits: PixelLogits) -> Tensor:
        labels = super().decide(logits)
        if self.refiner is None:
            return labels
        _, query_class, multiplicity = self.text
        with STOPWATCH.stage('refine', labels.device):
            probabilities = torch.empty(len(self.vocabulary), *logits.size, device=labels.device)
            class_probabilities(logits, query_class, multiplicity, self.logit_scale, probabilities)
            for affinity, part in zip(logits.notes, _columns(labels, logits.notes), strict=True):
                of_part = probabilities[..., part]
                size = tuple(max(1, side // 2) for side in of_part.shape[1:])
                half = F.interpolate(of_part[None], size=size, mode='bilinear', align_corners=False)[0]
                prompts = Prompts(self.refiner, affinity.embedding().to(self.refiner.sam.dtype), size, affinity.inner)
                labels[:, part] = refined(labels[:, part], half, prompts, self.confidence, self.quality)
        return labels

    def window_outputs(self, values: Tensor, features: Tensor) -> Tensor:
        """What an image's windows gather, through the output projection: (windows, C, H, W) on the helper's grid."""
        grid = features.shape[-2:]
        values = F.interpolate(values.float(), size=grid, mode='bilinear', align_corners=False)
        weights = proxy_attention(features, self.beta, self.gamma, together=True)
        out = (weights @ values.flatten(2).transpose(1, 2)).to(self.backbone.dtype)
        out = self.backbone.blocks[-1].project(out).float()
        return out.transpose(1, 2).unflatten(2, grid)

    def spliced(self, outputs: Tensor, windows: Windows) -> Tensor:
        """Average the windows' outputs (windows, C, H, W) where they overlap: (C, rows, columns) of the whole image.

        Raises:
            BenchError: windows begin within patches.
        """
        starts = (windows.tops, windows.lefts)
        if any(
            start * nodes % side
            for of_side, side, nodes in zip(starts, windows.window, outputs.shape[-2:], strict=True)
            for start in of_side
        ):
            # The helper's patches of two windows do not lie on each other; CLIP's should.
            grid = self.backbone.grid(*windows.window)
            outputs = F.interpolate(outputs, size=grid, mode='bilinear', align_corners=False)
        height, width = outputs.shape[-2:]
        places = [
            [start * nodes / side for start in of_side]
            for of_side, side, nodes in zip(starts, windows.window, (height, width), strict=True)
        ]
        if any(place != int(place) for of_side in places for place in of_side):
            raise BenchError('Trident splices windows: model.window and model.stride must be whole patches of CLIP')
        tops, lefts = ([int(place) for place in of_side] for of_side in places)
        total = outputs.new_zeros(outputs.shape[1], tops[-1] + height, lefts[-1] + width)
        hits = total.new_zeros(total.shape[1:])
        for out, (top, left) in zip(outputs, itertools.product(tops, lefts), strict=True):
            total[:, top : top + height, left : left + width] += out
            hits[top : top + height, left : left + width] += 1
        return total / hits

    def aggregated(self, tokens: Tensor, affinity: Affinity) -> Tensor:
        """Gather tokens (n, C) of the whole image by SAM's attention, cut off where its values are not alike."""
        return self.cut_attention(affinity) @ tokens

    def cut_attention(self, affinity: Affinity) -> Tensor:
        """Weights (n, n) of the whole image; each row sums to 1."""
        unit = F.normalize(affinity.values, dim=-1)
        mean = (unit @ unit.mean(1)[..., None])[..., 0].mean(0)
        threshold = self.cos_factor * mean
        if not self.negative:
            threshold = torch.where(threshold < 0, LOWEST, threshold)
        threshold = threshold.clamp(max=HIGHEST)[:, None]
        total = 0
        for head, of_head in enumerate(unit):
            total = total + affinity.attention(head).masked_fill_(of_head @ of_head.T <= threshold, 0)
        weights = total / len(unit)
        sums = weights.sum(-1, keepdim=True)
        weights.diagonal()[sums[:, 0] == 0] = 1
        return weights / torch.where(sums == 0, 1, sums)


def _columns(of: Tensor, parts: Sequence[Affinity]) -> list[slice]:
    """Columns of the whole image or of its two halves, as SAM sees it."""
    return halves_of(of.shape[-1]) if len(parts) == 2 else [slice(None)]
