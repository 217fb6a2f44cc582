"""The Materials benchmark as a dataset without files: an image's name is its seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from ...errors import BenchError
from ...mask_file import Mask
from ...palette import BACKGROUND
from ..loading import LoadMask
from .colors import COLORS
from .scene import TEST, Scene, draw_scene
from .textures import MATERIALS

CLASSES = tuple(words[0] for words in MATERIALS.values())
PALETTE = [COLORS[name] for name in CLASSES]


@DATASETS.register_module()
class MaterialsDataset(BaseSegDataset):
    """25 classes: 0 is the ground, 1..24 are materials. Nothing is read: images and masks are drawn from seeds.

    Args:
        count: images 00000, 00001, ... An image does not depend on how many there are.
        **kwargs: see mmseg's ``BaseSegDataset``.
    """

    METAINFO = dict(classes=('background', *CLASSES), palette=[BACKGROUND, *PALETTE])

    #: What is drawn. Datasets that draw the same have the same images.
    drawn = 'materials'

    def __init__(self, count: int = 200, **kwargs: object) -> None:
        if type(count) is not int or not 1 <= count < 2**31:
            raise BenchError(f'{type(self).__name__}: count is {count!r}; it must be a whole number, at least 1')
        self.count = count
        super().__init__(**kwargs)

    @staticmethod
    def size_of(name: str) -> tuple[int, int]:
        """(height, width) of an image, without drawing it."""
        return _begun(name)[1]

    def load_data_list(self) -> list[dict]:
        about = dict(reduce_zero_label=self.reduce_zero_label, label_map=self.label_map)
        names = [f'{seed:05d}' for seed in range(self.count)]
        return [dict(img_path=name, seg_map_path=name, seg_fields=[], **about) for name in names]


@DATASETS.register_module()
class Materials24Dataset(MaterialsDataset):
    """The 24 materials; the ground is ignored (label 0 becomes 255, 1..24 become 0..23)."""

    METAINFO = dict(classes=CLASSES, palette=PALETTE)

    def __init__(self, reduce_zero_label: bool = True, **kwargs: object) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)


@lru_cache(maxsize=16)
def test_scene(name: str, scale: int = 1) -> Scene:
    """The scene of an image's name, each pixel drawn as ``scale`` x ``scale``; not to be written to."""
    rng, (height, width) = _begun(name)
    return draw_scene(rng, scale * height, scale * width, int(rng.integers(2, 8)), scale=scale)


def _begun(name: str) -> tuple[np.random.Generator, tuple[int, int]]:
    """An image's random numbers, and (height, width), which are the first of them.

    Short sides are 80 to 112 pixels, around the 96 that they are resized to, and sides up to 1 : 1.5.
    """
    rng = np.random.default_rng([TEST, int(name)])
    short = int(rng.integers(80, 113))
    sides = (short, int(short * rng.uniform(1.0, 1.5)))
    return rng, sides if rng.random() < 0.75 else sides[::-1]


@TRANSFORMS.register_module()
class DrawImage(BaseTransform):
    """What ``LoadImage`` does, from the seed in ``img_path``: adds img (BGR), img_shape and ori_shape.

    Args:
        scale: see :func:`test_scene`; for figures, with the same of :class:`DrawMask`.
    """

    def __init__(self, scale: int = 1) -> None:
        self.scale = scale

    def transform(self, results: dict) -> dict:
        results['img'] = np.ascontiguousarray(test_scene(results['img_path'], self.scale).image[..., ::-1])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class DrawMask(LoadMask):
    """What ``LoadMask`` does, from the seed in ``seg_map_path``.

    Args:
        scale: see :class:`DrawImage`.
        **kwargs: see :class:`LoadMask`.
    """

    def __init__(self, scale: int = 1, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def read(self, path: str) -> Mask:
        return Mask(test_scene(path, self.scale).labels, [])
