"""What mmseg's data sets lack; importing the package registers it all."""

from . import coco_object, loading, preprocessor, sampler, square, voc20  # noqa: F401
