"""CLIP itself (Radford et al., ICML 2021, arXiv 2103.00020), its patch tokens read as they are.

The baseline of every table: nothing is changed (``vanilla``), or only the last block's residual and feed-forward
network are left out (``reduced``, NACLIP's Table 4).
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
class PlainCLIP(LastBlockSegmentor):
    """Run CLIP's own last block.

    Args:
        arch: ``vanilla`` (the whole block) or ``reduced`` (its attention alone).
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(self, arch: Literal['vanilla', 'reduced'] = 'vanilla', **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.whole_block = arch == 'vanilla'

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {SELF_ATTENTION, RESIDUALS} if settings['arch'] == 'vanilla' else {SELF_ATTENTION}

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        return attend(query, key, value)
