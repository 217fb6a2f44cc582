"""An image as a frozen CLIP sees it, of a dataset or of a file, and methods that look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import FrozenCLIP
from ..backbones.families import CLS
from ..checks.start import build_dataset
from ..datasets.check import image_names
from ..errors import BenchError, did_you_mean
from ..evaluation.overlay_files import image_of
from ..methods.base import TrainingFreeSegmentor
from ..palette import dataset_palette

#: Steps of a pipeline that change the image; an image without a mask goes through these alone.
SIZING = ('Resize', 'CentralSquare')


@dataclass
class Picture:
    """An image, at its own size and at the one that the model sees.

    Attributes:
        name: what it is called in a title.
        image: (H, W, 3) uint8, RGB, as it is shown.
        inputs: (3, h, w) uint8, BGR, resized as the config says.
        truth: (H, W) labels; None of an image without a mask.
        ignore_index: the label that is no class.
        colors: (C, 3) uint8 of the dataset's classes; None of an image of no dataset.
    """

    name: str
    image: np.ndarray
    inputs: Tensor
    truth: np.ndarray | None = None
    ignore_index: int = 255
    colors: np.ndarray | None = None

    def check(self, points: Sequence[tuple[int, int]]) -> None:
        """See that points (x, y) in pixels lie in the image.

        Raises:
            BenchError: one does not.
        """
        height, width = self.image.shape[:2]
        for x, y in points:
            if not (0 <= x < width and 0 <= y < height):
                raise BenchError(f'the point {x},{y} is outside {self.name}, which is {width} wide and {height} high')

    def patch_at(self, point: tuple[int, int], grid: tuple[int, int], patch: int) -> int:
        """The patch under a point, of ``grid`` in rows; one in the remainder at the right or below has the last."""
        (height, width), (x, y) = self.patch_size(patch), point
        return min(int((y + 0.5) / height), grid[0] - 1) * grid[1] + min(int((x + 0.5) / width), grid[1] - 1)

    def center_of(self, index: int, grid: tuple[int, int], patch: int) -> tuple[float, float]:
        """(x, y) of a patch's middle, in pixels of the image."""
        height, width = self.patch_size(patch)
        return (index % grid[1] + 0.5) * width - 0.5, (index // grid[1] + 0.5) * height - 0.5

    def patch_size(self, patch: int) -> tuple[float, float]:
        """(height, width) in pixels of the image of what the model sees as ``patch`` x ``patch`` pixels."""
        sides = zip(self.image.shape[:2], self.inputs.shape[1:], strict=True)
        return tuple(patch * own / resized for own, resized in sides)

    def seen(self, grid: tuple[int, int], patch: int) -> tuple[float, float]:
        """(height, width) in pixels of the image that the whole patches cover."""
        return tuple(count * side for count, side in zip(grid, self.patch_size(patch), strict=True))

    def points(self, count: int) -> list[tuple[int, int]]:
        """Points worth looking from: the innermost pixels of the largest classes, or of an image without a mask its
        middle, and where more are asked, those of its quarters.
        """
        height, width = self.image.shape[:2]
        if self.truth is None:
            shares = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
            return [(int(x * width), int(y * height)) for x, y in shares[:count]]
        classes, pixels = np.unique(self.truth[self.truth != self.ignore_index], return_counts=True)
        found = []
        for index in classes[np.argsort(-pixels, kind='stable')][:count]:
            inside = np.pad(np.uint8(self.truth == index), 1)
            depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            found.append((int(x), int(y)))
        return found or [(width // 2, height // 2)]


def open_pictures(
    config: Config, images: Sequence[str], count: int = 1, short_side: int | None = None
) -> list[Picture]:
    """Read images: files by their paths, images of the config's dataset by their names.

    Args:
        config: of any method on the dataset.
        images: where there is none, the dataset's first ``count``.
        short_side: of files as the model sees them, in pixels; None: what the dataset's pipeline makes of them.

    Raises:
        BenchError: a file that cannot be read, or no such image in the dataset.
    """
    steps = [step for step in config.test_dataloader.dataset.pipeline if step['type'] in SIZING]
    if short_side is not None:
        steps = [dict(type='Resize', scale=(2048, short_side), keep_ratio=True)]
    if images and all(Path(image).is_file() for image in images):
        return [picture_of_file(Path(image), steps) for image in images]
    dataset = build_dataset(config.test_dataloader.dataset)
    names = image_names(dataset)
    pictures = []
    for image in images or names[:count]:
        if Path(image).is_file():
            pictures.append(picture_of_file(Path(image), steps))
            continue
        if image not in names:
            raise BenchError(f'there is no file and no image of {config.dataset} {image}{did_you_mean(image, names)}')
        item = dataset[names.index(image)]
        sample = item['data_samples']
        truth = sample.gt_sem_seg.data[0].numpy()
        shown = image_of(dataset, sample)
        name, colors = f'{config.dataset} {image}', dataset_palette(dataset.metainfo)
        pictures.append(Picture(name, shown, item['inputs'], truth, dataset.ignore_index, colors))
    return pictures


def picture_of_file(path: Path, steps: Sequence[dict]) -> Picture:
    """Read one image of no dataset.

    Args:
        steps: of a pipeline that change its size; see :data:`SIZING`.
    """
    loaded = Compose([dict(type='LoadImage')])(dict(img_path=str(path)))
    image = loaded['img']
    loaded['gt_seg_map'] = np.zeros(image.shape[:2], np.int32)
    sized = Compose(list(steps))(loaded)
    if sized.get('central_square'):
        image = sized['img']
    inputs = torch.from_numpy(np.ascontiguousarray(sized['img'])).permute(2, 0, 1)
    return Picture(path.name, np.ascontiguousarray(image[..., ::-1]), inputs)


def build_members(configs: Mapping[str, Config], device: torch.device) -> dict[str, TrainingFreeSegmentor]:
    """Build methods on one backbone.

    Raises:
        BenchError: their backbones differ, or have no [CLS] token before the patches, which figures look at.
    """
    backbones = [config.model.backbone for config in configs.values()]
    if any(backbone != backbones[0] for backbone in backbones):
        raise BenchError('the methods have different backbones; side by side they need one')
    clip = FrozenCLIP(**backbones[0])
    if CLS not in clip.family.offers or clip.prefix != 1:
        raise BenchError(f'figures look at [CLS] and patches, and {clip.arch} ({clip.family.title}) has no such [CLS]')
    return {name: MODELS.build(dict(config.model, backbone=clip)).eval().to(device) for name, config in configs.items()}


def normalized(picture: Picture, member: TrainingFreeSegmentor) -> Tensor:
    """The whole image as one window, (1, 3, h, w), on the model's device."""
    return member.data_preprocessor(dict(inputs=[picture.inputs]))['inputs'][0][None]


def weights_of(clip: FrozenCLIP) -> str:
    """What a title says of the weights: ``weights: ViT-B-16-quickgelu, openai``; ``materials`` once."""
    arch = clip.arch if isinstance(clip.arch, str) else 'own architecture'
    return 'weights: ' + ', '.join(
        dict.fromkeys((Path(arch).stem, 'random' if clip.random_weights else clip.weights_name))
    )
