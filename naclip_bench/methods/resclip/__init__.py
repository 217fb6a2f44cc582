"""ResCLIP, with its semantic feedback."""

from .method import ResCLIP

__all__ = ['ResCLIP']
