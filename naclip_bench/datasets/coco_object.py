"""COCO-Object: the 80 things of COCO and a background, on val2017."""

from mmseg.datasets import BaseSegDataset, COCOStuffDataset
from mmseg.registry import DATASETS

THINGS = 80


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """81 classes: 0 is background, 1..80 are COCO's things in the order of COCO-Stuff's train ids.

    Masks come from COCO-Stuff's (GroupViT's conversion): train id + 1 for things, and 0 for everything else, unlabeled
    pixels included. They are scored as background, as every paper does.
    """

    METAINFO = dict(
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:THINGS]),
        palette=[[0, 0, 0], *COCOStuffDataset.METAINFO['palette'][:THINGS]],
    )

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '_instanceTrainIds.png', **kwargs: object
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
