"""CorrCLIP."""

from .method import CorrCLIP

__all__ = ['CorrCLIP']
