"""LPOSS and LPOSS+."""

from .method import LPOSS

__all__ = ['LPOSS']
