"""Pascal VOC 2012 without its background."""

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class PascalVOC20Dataset(PascalVOCDataset):
    """The 20 object classes of Pascal VOC; background pixels are ignored (label 0 becomes 255, 1..20 become 0..19)."""

    METAINFO = dict(
        classes=PascalVOCDataset.METAINFO['classes'][1:],
        palette=PascalVOCDataset.METAINFO['palette'][1:],
    )

    def __init__(self, reduce_zero_label: bool = True, **kwargs: object) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)
