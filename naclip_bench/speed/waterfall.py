"""What each step from the released way to ours gains here: images a second from file to matrix, and equal labels."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from rich.table import Column, Table
from torch import Tensor
from torch.utils.data import DataLoader

from ..checks.start import build_dataset
from ..console import print_whole, screen
from ..datasets.packed import packed, unpacked
from ..datasets.same_images import SameImages
from ..errors import BenchError
from ..evaluation.confusion import batch_cells
from ..evaluation.leaf import Leaf, Selection
from ..evaluation.opened import Pass
from ..evaluation.record import RANDOM_WEIGHTS, device_record
from ..inference.pipeline import segment
from ..methods.base import TrainingFreeSegmentor
from .against_plain import plain_labels
from .launches import Launches


@dataclass(frozen=True)
class Step:
    """One way of the same images.

    Attributes:
        name: what it adds to the step before.
        start: seconds from an idle model to the first labels of all images, where kernels and caches get warm.
        rate: images a second after that, from file to confusion matrix.
        agreement: share of pixels labeled as by the first step.
        launches: how many an image takes, see :class:`Launches`.
    """

    name: str
    start: float
    rate: float
    agreement: float
    launches: float


def waterfall(config: Config, limit: int, rounds: int) -> list[Step]:
    """Run ``limit`` images ``rounds`` times over, after once that is not counted, in each of the ways.

    Raises:
        BenchError: the data are not there, or a number is none.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    Pass([Leaf(config.dataset, config)]).check(Selection())
    dataset = SameImages({config.dataset: build_dataset(config.test_dataloader.dataset)})
    count = min(limit, len(dataset))
    if count < 1 or rounds < 1:
        raise BenchError(f'--limit is {limit} and --rounds {rounds}; both must be at least 1')
    exact = copy.deepcopy(config.model)
    exact.backbone.precision = 'fp32'
    model = MODELS.build(exact).eval().to(device)
    precision = config.model.backbone.get('precision', 'fp32')
    loader = config.test_dataloader

    def one_by_one(images: Sequence[Tensor], samples: Sequence[SegDataSample]) -> list[Tensor]:
        return [plain_labels(model, image, of.ori_shape) for image, of in zip(images, samples, strict=True)]

    def ours(images: Sequence[Tensor], samples: Sequence[SegDataSample]) -> list[Tensor]:
        return segment([model], images, samples)[0]

    steps, expected = [], None

    def step(name: str, labeled: Callable, images: int, workers: int) -> None:
        nonlocal expected
        start, rate, labels = _end_to_end(model, labeled, dataset, count, rounds, images, workers)
        first = range(min(images, count))
        batch = packed([dataset[index] for index in first])
        with Launches() as launches:
            _segment(model, labeled, dataset, batch)
        expected = labels if expected is None else expected
        equal = sum(int((one == other).sum()) for one, other in zip(labels, expected, strict=True))
        agreement = equal / sum(map(Tensor.numel, expected))
        steps.append(Step(name, start, rate, agreement, launches.counted / len(first)))

    step('as released: fp32', one_by_one, 1, 0)
    step('windows together', ours, 1, 0)
    step(f'{loader.batch_size} images a batch', ours, loader.batch_size, 0)
    if precision != 'fp32':
        model = MODELS.build(config.model).eval().to(device)
        step(precision, ours, loader.batch_size, 0)
    if loader.num_workers:
        step(f'read ahead by {loader.num_workers}', ours, loader.batch_size, loader.num_workers)
    return steps


def _end_to_end(
    model: TrainingFreeSegmentor,
    labeled: Callable[[Sequence[Tensor], Sequence[SegDataSample]], list[Tensor]],
    dataset: SameImages,
    count: int,
    rounds: int,
    images: int,
    workers: int,
) -> tuple[float, float, list[Tensor]]:
    """Start, rate and labels of one step; see :class:`Step`."""
    model.text  # noqa: B018 (encoded once a run, and no step's own)
    round_ = [list(range(first, min(first + images, count))) for first in range(0, count, images)]
    loader = DataLoader(
        dataset,
        batch_sampler=round_ * (rounds + 1),
        collate_fn=packed,
        num_workers=workers,
        pin_memory=model.backbone.device.type == 'cuda',
    )
    kept: list[Tensor] = []
    begin = time.perf_counter()
    for data in loader:
        labels = _segment(model, labeled, dataset, data)
        if len(kept) < count:
            kept += [one.short().cpu() for one in labels]
            warm = time.perf_counter()
    return warm - begin, count * rounds / (time.perf_counter() - warm), kept


def _segment(model: TrainingFreeSegmentor, labeled: Callable, dataset: SameImages, batch: dict) -> list[Tensor]:
    """Labels of a batch, which are counted."""
    data = model.data_preprocessor(unpacked(batch, model.backbone.device))
    labels = labeled(data['inputs'], data['data_samples'])
    truths = [truth for sample in data['data_samples'] for truth in sample.truths.values()]
    batch_cells(zip(labels, truths, strict=True), len(dataset.metainfo['classes']), dataset.first.ignore_index)
    return labels


def print_waterfall(config: Config, steps: Sequence[Step]) -> None:
    """A row a step, each on top of those above it."""
    console = screen()
    columns = ('images/s', 'beside', 'labels equal', 'start, s', 'launches')
    table = Table('step', *(Column(name, justify='right') for name in columns))
    for step in steps:
        beside, equal = f'{step.rate / steps[0].rate:.2f}x', f'{100 * step.agreement:.4f} %'
        table.add_row(step.name, f'{step.rate:.2f}', beside, equal, f'{step.start:.1f}', f'{step.launches:.0f}')
    print_whole(console, table)
    console.print('Launches are the operations that torch starts for an image, reading apart.')
    if config.model.backbone.get('pretrained') is None:
        console.print(RANDOM_WEIGHTS, style='bold red')
    device = device_record(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))
    console.print(f'{config.dataset}, {config.model.type}, {device["name"]}, {device["threads"]} threads', markup=False)
