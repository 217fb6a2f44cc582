"""CLIP itself (Radford et al., ICML 2021, arXiv 2103.00020), its patch tokens read as they are.

The baseline of every table: nothing is changed (``vanilla``), or only the last block's residual and feed-forward
network are left out (``reduced``, NACLIP's Table 4).
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk, attend
from ..errors import BenchError, did_you_mean
from .last_block import LastBlockSegmentor

ARCHITECTURES = ('vanilla', 'reduced')


@MODELS.register_module()
class PlainCLIP(LastBlockSegmentor):
    """CLIP's own last block.

    Args:
        arch: ``vanilla`` (the whole block) or ``reduced`` (its attention alone).
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(self, arch: str = 'vanilla', **kwargs: object) -> None:
        super().__init__(**kwargs)
        if arch not in ARCHITECTURES:
            raise BenchError(f'PlainCLIP: unknown arch "{arch}"{did_you_mean(arch, ARCHITECTURES)}')
        self.whole_block = arch == 'vanilla'

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        return attend(query, key, value)
