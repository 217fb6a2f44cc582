"""The frozen CLIP that every method looks at."""

from .clip import FrozenCLIP, Trunk

__all__ = ['FrozenCLIP', 'Trunk']
