"""Mask2Former (Cheng et al., CVPR 2022, arXiv 2112.01527), built by transformers: region maps of whole images."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.clip import PRECISIONS
from ..backbones.colors import NAMED
from ..backbones.weights import check_finite, weights_hash
from ..optional import needed
from ..settings import Count, Probability, checked
from .hub import find_model, read_model
from .regions import RegionHelper
from .weights import random_weights

#: The longest side of an image, in shares of the short one's setting, as the authors have them (1333 and 800).
LONGEST = 1333 / 800

#: Sides are multiples of it: the backbone's coarsest level has a place for so many pixels.
MULTIPLE = 32


@MODELS.register_module()
class Mask2Former(RegionHelper):
    """Mask2Former's segments, whatever their classes: its panoptic inference without the classes.

    A pixel belongs to the query with the highest score times mask, among those whose class is one and whose score is
    above ``quality``; a segment of which others leave too little (``overlap``) is dropped. The weights were trained
    with labels of their dataset, unlike SAM's, COCO's by default.

    Args:
        arch: arguments of transformers' ``Mask2FormerConfig`` for random weights; ``pretrained`` comes with its own.
        pretrained: a name on the Hugging Face hub, a folder that transformers saved, or None for random weights.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the whole model.
        side: short side in pixels to which images are resized, the long one at most 1.67 times as much; both are
            rounded to multiples of 32.
        quality: score that a segment must exceed.
        overlap: lowest share of its mask that a segment keeps.
    """

    modules = ('transformers',)

    @checked
    def __init__(
        self,
        arch: dict | None = None,
        pretrained: str | Path | None = 'facebook/mask2former-swin-large-coco-panoptic',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
        side: Count = 800,
        quality: Probability = 0.8,
        overlap: Probability = 0.8,
    ) -> None:
        super().__init__()
        self.model = _load(arch, pretrained)
        self.random_weights = pretrained is None
        self.weights_name = 'random' if pretrained is None else Path(str(pretrained)).name
        self.arch = 'mask2former'
        state = {name: value.float().contiguous() for name, value in self.model.named_parameters()}
        check_finite(state, self.weights_name)
        self.weights_hash = weights_hash(state)
        self.model.to(PRECISIONS[precision])
        self.precision, self.side, self.quality, self.overlap = precision, side, quality, overlap
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in NAMED['imagenet'])
        self.register_buffer('_mean', mean, persistent=False)
        self.register_buffer('_deviation', deviation, persistent=False)

    @property
    def key(self) -> dict[str, object]:
        return {**super().key, **{name: getattr(self, name) for name in ('precision', 'side', 'quality', 'overlap')}}

    @classmethod
    def check(cls, settings: dict) -> None:
        needed('transformers', 'helpers', 'Mask2Former')
        if (pretrained := settings.get('pretrained', 'facebook/mask2former-swin-large-coco-panoptic')) is not None:
            find_model(pretrained, 'Mask2Former')

    @torch.no_grad()
    def regions(self, image: Tensor) -> Tensor:
        size = tuple(image.shape[1:])
        scale = min(self.side / min(size), self.side * LONGEST / max(size))
        inner = tuple(max(1, round(part * scale / MULTIPLE)) * MULTIPLE for part in size)
        resized = F.interpolate(image[None], size=inner, mode='bilinear', antialias=True)
        found = self.model(((resized - self._mean) / self._deviation).to(self.model.dtype))
        return segments(found.class_queries_logits[0], found.masks_queries_logits[0], size, self.quality, self.overlap)


def segments(classes: Tensor, masks: Tensor, size: tuple[int, int], quality: float, overlap: float) -> Tensor:
    """Region map (H, W) int64 of what queries found; 0 where there is nothing.

    Args:
        classes: (Q, K + 1) logits, the last of no class.
        masks: (Q, h, w) logits.
        size: (H, W).
        quality, overlap: see :class:`Mask2Former`.
    """
    scores, found = classes.float().softmax(-1).max(-1)
    good = (found < classes.shape[1] - 1) & (scores > quality)
    regions = torch.zeros(size, dtype=torch.int64, device=masks.device)
    if not good.any():
        return regions
    shares = F.interpolate(masks[good][None].float(), size=size, mode='bilinear', align_corners=False)[0].sigmoid()
    winner = (shares * scores[good, None, None]).argmax(0)
    for index, share in enumerate(shares):
        mask = share >= 0.5
        own = mask & (winner == index)
        if own.any() and own.sum() >= overlap * mask.sum():
            regions[own] = index + 1
    return regions


def _load(arch: dict | None, pretrained: str | Path | None) -> nn.Module:
    if pretrained is not None:
        place = find_model(pretrained, 'Mask2Former')
        return read_model('Mask2FormerForUniversalSegmentation', place, 'Mask2Former')
    transformers = needed('transformers', 'helpers', 'Mask2Former')
    # Some versions take entries out of what they are given.
    config = transformers.Mask2FormerConfig(**deepcopy(arch or {}))
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    model.load_state_dict(random_weights(model, 'mask2former.'), strict=False)
    return model
