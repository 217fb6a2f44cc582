"""What mmseg's datasets lack; importing the package registers it all."""

from . import ade847, coco_object, folder, lists, loading, pc459, preprocessor, sampler, square, voc20  # noqa: F401
from .materials import dataset  # noqa: F401
