"""CASS."""

from .method import CASS

__all__ = ['CASS']
