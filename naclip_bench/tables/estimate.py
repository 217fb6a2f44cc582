"""What a plan would cost, before anything runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from ..backbones.kept import NUMBER
from ..backbones.sources import find_architecture
from ..backbones.weights import costs_of
from ..bundled import PRETRAINED
from ..checks.start import build_dataset
from ..console import amount
from ..datasets.check import image_names, is_drawn, select
from ..errors import BenchError
from ..evaluation.opened import Pass
from ..files import make_folder
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
        kept: bytes that ``--keep-trunk`` takes for them, where it is asked for.
        weights: which, and their bytes in fp32; the bytes are 0 for those that come along or are random.
    """

    images: int
    trunks: int
    windows: int
    separate: int
    exact: bool
    flops: int
    kept: int
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
    count, flops, tokens, flops_of = {}, 0, 0, cache(tower.flops)
    for layout in set(layouts):
        windows = [Windows.over(size, *layout[:2]) for size in sizes]
        count[layout] = sum(map(len, windows))
        grids = ((len(of), tuple(side // tower.patch for side in of.window)) for of in windows)
        for number, (rows, columns) in grids:
            flops += number * flops_of((rows, columns), len(tower.blocks))
            tokens += number * (rows * columns + tower.prefix)
    pretrained = backbone.get('pretrained')
    local = pretrained is None or (PRETRAINED / f'{pretrained}.safetensors').is_file() or Path(pretrained).exists()
    weights = f'{architecture.name}, {pretrained or "random"}', 0 if local else 4 * parameters
    separate = sum(count[layout] for layout in layouts)
    kept = tokens * tower.width * NUMBER if backbone.get('keep') else 0
    return Estimate(len(sizes), len(count), sum(count.values()), separate, exact, flops, kept, weights)


def check_room(passes: Sequence[Pass], options: Options) -> None:
    """See that what is to be kept of the trunk has room, before anything runs.

    Raises:
        BenchError: it has not.
    """
    folders = [folder for folder in (pass_.leaves[0].config.model.backbone.get('keep') for pass_ in passes) if folder]
    if not folders:
        return
    needed = sum(estimate(pass_, options).kept for pass_ in passes)
    folder = Path(folders[0])
    make_folder('--keep-trunk', folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        # Only now: of many files it takes a while.
        free += sum(path.stat().st_size for path in folder.rglob('*.npy'))
    if needed > free:
        raise BenchError(
            f'--keep-trunk: {folder} needs about {amount(needed)} and has room for {amount(free)}; run fewer images '
            '(--limit, --subset) or datasets, or name a folder on a larger disk'
        )


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
