"""Frozen models beside CLIP that some methods look at: what an image's patches, pixels and regions have in common."""

from .base import HELPERS, Affinity, Helper, Look, build_helper
from .mask2former import Mask2Former
from .prompted_sam import PromptedSAM, Prompts
from .regions import RegionFolder, RegionHelper
from .sam import SAM
from .sam2 import SAM2
from .vit import ViT

__all__ = [
    'HELPERS',
    'SAM',
    'SAM2',
    'Affinity',
    'Helper',
    'Look',
    'Mask2Former',
    'PromptedSAM',
    'Prompts',
    'RegionFolder',
    'RegionHelper',
    'ViT',
    'build_helper',
]
