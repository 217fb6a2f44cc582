"""The frozen CLIP that every method looks at."""

from .blocks import attend
from .clip import FrozenCLIP, Trunk, TrunkNeed

__all__ = ['FrozenCLIP', 'Trunk', 'TrunkNeed', 'attend']
