"""CLIPtrase, with the clustering of patches that it is built on."""

from .method import CLIPtrase

__all__ = ['CLIPtrase']
