"""MaskCLIP: Extract Free Dense Labels from CLIP (Zhou, Loy, Dai; ECCV 2022, arXiv 2112.01071).

Each token of the last block sees its own value alone: the attention is the identity. Key smoothing and prompt
denoising (section 3.3) refine the result.

Where released code and papers differ:
- The released code keeps the residual and the feed-forward network (``released``); the baseline that later papers
  evaluate as "MaskCLIP" is the value through the output projection alone (``identity``), and is the default here
  because their tables quote it.
- Its model runs CLIP with GELU, LayerNorm eps 1e-6 and ImageNet's mean and deviation; here CLIP is CLIP.
- Key smoothing normalizes the keys over the tokens, not over the channels, and does not normalize the smoothed
  rows. Both are kept. Keys go through the output projection first.
- Both refinements are commented out in the released configs, and are off here (None). MaskCLIP+ uses 1.0 and 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk
from ..backbones.families import RESIDUALS
from ..settings import Probability
from .last_block import LastBlockSegmentor

#: Scale of the softmax inside both refinements, and the cosine that a denoised class is set to.
REFINE_SCALE = 100.0
DENOISED = -100.0


@MODELS.register_module()
class MaskCLIP(LastBlockSegmentor):
    """Run MaskCLIP in the form that later papers evaluate, or as released.

    Args:
        form: ``identity`` (value path alone) or ``released`` (residual and feed-forward network kept).
        smoothing_thd: key smoothing of patches whose highest probability is under this; None: off. The logits of a
            window are probabilities then.
        denoising_thd: queries whose highest probability in the window is under this are dropped there; None: off.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        form: Literal['identity', 'released'] = 'identity',
        smoothing_thd: Probability | None = None,
        denoising_thd: Probability | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.whole_block = form == 'released'
        self.smoothing_thd, self.denoising_thd = smoothing_thd, denoising_thd

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {RESIDUALS} if settings['form'] == 'released' else set()

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        return value

    def match(self, tokens: Tensor, text: Tensor, trunk: Trunk) -> Tensor:
        logits = super().match(tokens, text, trunk)
        if self.denoising_thd is not None:
            highest = (logits * REFINE_SCALE).softmax(-1).amax(1, keepdim=True)
            logits = torch.where(highest < self.denoising_thd, DENOISED, logits)
        if self.smoothing_thd is not None:
            probabilities = (logits * REFINE_SCALE).softmax(-1)
            block = self.backbone.blocks[-1]
            keys = block.output(block.qkv(trunk.tokens, trunk.rotation)[1])
            keys = F.normalize(self.patches(keys).float(), dim=1)
            smoothed = keys @ (keys.transpose(1, 2) @ probabilities)
            unsure = probabilities.amax(-1, keepdim=True) < self.smoothing_thd
            logits = torch.where(unsure, smoothed, probabilities)
        return logits
