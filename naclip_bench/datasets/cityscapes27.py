"""Cityscapes with all 27 classes that are no void, as unsupervised segmentation is scored."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..vocabulary import printed_names


@DATASETS.register_module()
class Cityscapes27Dataset(BaseSegDataset):
    """27 classes: Cityscapes' label ids 7 (road) to 33 (bicycle), in order; all others are not scored."""

    # Without a palette mmseg makes one, the same every time.
    METAINFO = dict(classes=printed_names('cityscapes27'))
