"""ADE20K's full release with the 847 classes that the open-vocabulary papers score."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..vocabulary import printed_names
from .loading import NOT_SCORED_16_BIT


@DATASETS.register_module()
class ADE847Dataset(BaseSegDataset):
    """847 classes of ADE20K's full release, of those that occur in both training and validation images.

    Masks are 16-bit PNGs of labels 0..846. Label 65535 is not scored: 255 is a class here.
    """

    # Without a palette mmseg makes one, the same every time.
    METAINFO = dict(classes=printed_names('ade847'))

    def __init__(self, ignore_index: int = NOT_SCORED_16_BIT, **kwargs: object) -> None:
        super().__init__(ignore_index=ignore_index, **kwargs)
