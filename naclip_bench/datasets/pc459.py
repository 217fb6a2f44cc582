"""Pascal Context with all of its labels that the open-vocabulary papers score."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..vocabulary import printed_names
from .loading import NOT_SCORED_16_BIT


@DATASETS.register_module()
class PascalContext459Dataset(BaseSegDataset):
    """459 classes in the order of Pascal Context's own ``labels.txt``; masks are 16-bit PNGs of labels 0..458.

    Label 65535 is not scored: 255 is a class here.
    """

    # Without a palette mmseg makes one, the same every time.
    METAINFO = dict(classes=printed_names('pc459'))

    def __init__(self, ignore_index: int = NOT_SCORED_16_BIT, **kwargs: object) -> None:
        super().__init__(ignore_index=ignore_index, **kwargs)
