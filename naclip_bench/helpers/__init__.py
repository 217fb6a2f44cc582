"""Frozen models beside CLIP that some methods look at: what an image's patches, pixels and regions have in common."""

from .base import HELPERS, Helper, Look, build_helper
from .vit import ViT

__all__ = ['HELPERS', 'Helper', 'Look', 'ViT', 'build_helper']
