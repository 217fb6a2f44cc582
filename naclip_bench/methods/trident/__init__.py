"""Trident."""

from .method import Trident

__all__ = ['Trident']
