"""One's own image, one's own words: a method as an object that is called with an image."""

from ..configuration import register

# Before mmseg is imported, which tells of parts that are not there and that nothing here needs.
register()

from .result import Segmentation  # noqa: E402
from .segmenter import Segmenter  # noqa: E402

__all__ = ['Segmentation', 'Segmenter']
