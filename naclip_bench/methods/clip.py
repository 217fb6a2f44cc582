"""CLIP itself (Radford et al., ICML 2021, arXiv 2103.00020), its patch tokens read as they are.

The baseline of every table: nothing is changed (``vanilla``), or only the last block's residual and feed-forward
network are left out (``reduced``, NACLIP's Table 4).
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk
from ..errors import BenchError, did_you_mean
from .base import TrainingFreeSegmentor

ARCHITECTURES = ('vanilla', 'reduced')


@MODELS.register_module()
class PlainCLIP(TrainingFreeSegmentor):
    """CLIP's own last block.

    Args:
        arch: ``vanilla`` (the whole block) or ``reduced`` (its attention alone).
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(self, arch: str = 'vanilla', **kwargs: object) -> None:
        super().__init__(**kwargs)
        if arch not in ARCHITECTURES:
            raise BenchError(f'PlainCLIP: unknown arch "{arch}"{did_you_mean(arch, ARCHITECTURES)}')
        self.arch = arch

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        block = self.backbone.blocks[-1]
        if self.arch == 'reduced':
            return self.backbone.head(block.attention(trunk.tokens))
        return self.backbone.head(block.add_(trunk.tokens.clone()))
