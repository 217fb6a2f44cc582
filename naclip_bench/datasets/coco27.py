"""COCO of 27 classes: COCO-Stuff's kinds of things and stuff, as unsupervised segmentation is scored."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

THINGS = (
    *('electronic', 'appliance', 'food', 'furniture', 'indoor', 'kitchen', 'accessory', 'animal', 'outdoor', 'person'),
    *('sports', 'vehicle'),
)
STUFF = (
    *('ceiling', 'floor', 'food', 'furniture', 'rawmaterial', 'textile', 'wall', 'window', 'building', 'ground'),
    *('plant', 'sky', 'solid', 'structural', 'water'),
)


@DATASETS.register_module()
class COCO27Dataset(BaseSegDataset):
    """27 classes by their names in COCO's hierarchy, in PiCIE's and STEGO's order; see :mod:`naclip_bench.data.coco27`.

    The words of a class, ``coco27.txt``, are those of COCO-Stuff's classes that it is made of.
    """

    # Without a palette mmseg makes one, the same every time.
    METAINFO = dict(classes=(*(f'{name}-things' for name in THINGS), *(f'{name}-stuff' for name in STUFF)))
