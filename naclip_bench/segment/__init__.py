"""One's own image, one's own words: a method as an object that is called with an image."""

from .result import Segmentation
from .segmenter import Segmenter

__all__ = ['Segmentation', 'Segmenter']
