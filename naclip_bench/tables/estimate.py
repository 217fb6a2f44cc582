"""What a plan would cost, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from ..backbones.sources import find_architecture
from ..backbones.weights import costs_of
from ..bundled import PRETRAINED
from ..checks.start import build_dataset
from ..datasets.check import image_names, is_drawn, select
from ..evaluation.opened import Pass
from ..inference.windows import Windows
from .plan import Options


@dataclass
class Estimate:
    """What a pass costs, before it runs.

    Attributes:
        images: how many are decoded.
        trunks: how often the trunk sees each image: once a layout of windows and kind of position embedding.
        windows: how many go through the trunk, over all of these.
        separate: how many would, were every leaf run on its own.
        exact: sizes were read from the images; else an image of 4:3 stood for all.
        flops: of the vision towers over all of the windows, two for each multiply-add.
        weights: which, and their bytes in fp32; the bytes are 0 for those that come along or are random.
    """

    images: int
    trunks: int
    windows: int
    separate: int
    exact: bool
    flops: int
    weights: tuple[str, int]


def estimate(pass_: Pass, options: Options) -> Estimate:
    """Count a pass's windows from its images' sizes, and what they ask of the vision tower."""
    config = pass_.leaves[0].config
    sizes, exact = _sizes(config, options)
    layouts = []
    for leaf in pass_.leaves:
        model = leaf.config.model
        window, stride = model.get('window', 224), model.get('stride', 112)
        layouts.append((window, stride, MODELS.get(model.type).positions))
    backbone = config.model.backbone
    architecture = find_architecture(backbone.get('arch', 'ViT-B-16-quickgelu'))
    parameters, tower = costs_of(architecture)
    count, flops, flops_of = {}, 0, cache(tower.flops)
    for layout in set(layouts):
        windows = [Windows.over(size, *layout[:2]) for size in sizes]
        count[layout] = sum(map(len, windows))
        grids = ((len(of), tuple(side // tower.patch for side in of.window)) for of in windows)
        flops += sum(number * flops_of(grid, len(tower.blocks)) for number, grid in grids)
    pretrained = backbone.get('pretrained')
    local = pretrained is None or (PRETRAINED / f'{pretrained}.safetensors').is_file() or Path(pretrained).exists()
    weights = f'{architecture.name}, {pretrained or "random"}', 0 if local else 4 * parameters
    separate = sum(count[layout] for layout in layouts)
    return Estimate(len(sizes), len(count), sum(count.values()), separate, exact, flops, weights)


def _sizes(config: Config, options: Options) -> tuple[list[tuple[int, int]], bool]:
    """(height, width) of the images as the model sees them."""
    dataset = config.test_dataloader.dataset
    if is_drawn(dataset):
        built = build_dataset(dataset)
        names = image_names(built)
        original = [built.size_of(names[index]) for index in select(names, options.limit, options.subset)]
        return [resized(size, dataset.pipeline) for size in original], True
    root = Path(dataset.data_root)
    folder = root / dataset.data_prefix.img_path
    paths = sorted(folder.rglob(f'*{dataset.img_suffix}'))
    if dataset.get('ann_file') and (root / dataset.ann_file).is_file():
        names = set((root / dataset.ann_file).read_text(encoding='utf-8-sig').split())
        paths = [path for path in paths if path.name.removesuffix(dataset.img_suffix) in names]
    if paths:
        names = [path.relative_to(folder).as_posix().removesuffix(dataset.img_suffix) for path in paths]
        paths = [paths[index] for index in select(names, options.limit, options.subset, dataset.img_suffix)]
        original = [Image.open(path).size[::-1] for path in paths]
    else:
        original = [(375, 500)] * min(config.images, options.limit or config.images)
    return [resized(size, dataset.pipeline) for size in original], bool(paths)


def resized(size: tuple[int, int], pipeline: Sequence[dict]) -> tuple[int, int]:
    """(height, width) of an image of such a ``size`` behind a pipeline."""
    for step in pipeline:
        if step['type'] == 'Resize':
            longest, shortest = max(step['scale']), min(step['scale'])
            factor = min(longest / max(size), shortest / min(size))
            return tuple(int(side * factor + 0.5) for side in size)
        if step['type'] == 'CentralSquare':
            return step['size'], step['size']
    return size
