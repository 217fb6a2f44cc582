"""ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference (Lan et al.; ECCV 2024, arXiv
2407.12442).

The last block attends by q-q similarity, softmax(q q^T / sqrt(d)) v, and its output is the encoder's: no residual
and no feed-forward network.

Where released code and paper differ: the released config runs ``vanilla`` attention without the residual, which is
not ClearCLIP; here the default is the paper's. The grid of attention x residual is the released ``model_type`` x
``ignore_residual``.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal

from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk, attend
from ..backbones.families import RESIDUALS, SELF_ATTENTION
from .last_block import LastBlockSegmentor


@MODELS.register_module()
class ClearCLIP(LastBlockSegmentor):
    """Run ClearCLIP, or another cell of its grid of attention x residual.

    Args:
        attention: ``qq`` (ClearCLIP), ``vanilla`` (q-k), ``identity`` (as MaskCLIP), ``csa`` (as SCLIP).
        residual: keep the residual and the feed-forward network.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        attention: Literal['qq', 'vanilla', 'identity', 'csa'] = 'qq',
        residual: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.attention, self.whole_block = attention, residual

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        attention = {SELF_ATTENTION} if settings['attention'] != 'identity' else set()
        return attention | ({RESIDUALS} if settings['residual'] else set())

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        if self.attention == 'qq':
            return attend(query, query, value)
        if self.attention == 'vanilla':
            return attend(query, key, value)
        if self.attention == 'csa':
            return attend(query, query, value) + attend(key, key, value)
        return value
