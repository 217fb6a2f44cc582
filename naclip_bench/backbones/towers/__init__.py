"""Vision towers, one file a library's class, each taken apart in the same way."""

from __future__ import annotations

from torch import nn

from .base import Tower
from .resnet import ResNetTower
from .timm_vit import TimmTower
from .tips import TipsTower
from .vit import ViTTower

TOWERS = (ViTTower, TimmTower, ResNetTower, TipsTower)

__all__ = ['Tower', 'kind_of', 'tower_of']


def kind_of(visual: nn.Module) -> type[Tower] | None:
    """Find the way to take the vision tower of an open_clip model apart; None where none is known."""
    return next((tower for tower in TOWERS if tower.fits(visual)), None)


def tower_of(visual: nn.Module) -> Tower:
    """Take the vision tower of an open_clip model apart."""
    return kind_of(visual)(visual)
