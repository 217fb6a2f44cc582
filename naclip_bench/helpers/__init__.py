"""Frozen models beside CLIP that some methods look at: what an image's patches, pixels and regions have in common."""

from .base import HELPERS, Helper, Look, build_helper
from .regions import RegionFolder, RegionHelper
from .sam2 import SAM2
from .vit import ViT

__all__ = ['HELPERS', 'SAM2', 'Helper', 'Look', 'RegionFolder', 'RegionHelper', 'ViT', 'build_helper']
