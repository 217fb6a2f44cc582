"""What methods cost beside each other: the same images, batch by batch and in random order, on one backbone."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ..backbones import FrozenCLIP
from ..checks.start import build_dataset
from ..console import print_whole
from ..errors import BenchError
from ..evaluation.record import device_record
from ..inference.windows import Windows
from ..json_files import write_json
from .against_plain import PeakMemory, stages_of
from .flops import Flops, flops_of_image

STAGES = ('trunk', 'helper', 'method', 'stitch+decide', 'refine')


@dataclass
class Cost:
    """One method's run.

    Attributes:
        images: how many were run.
        windows: how many of them went through the backbone.
        flops: what the first image costs.
        stages: seconds of each stage.
        ratios: of each batch, its seconds over those of the first method.
        weights: bytes of all parameters, those of helpers too.
        peak: bytes above them at the highest point.
        pixels, equal: labels that were compared with those of fp32, and how many of them are the same.
    """

    images: int = 0
    windows: int = 0
    flops: Flops | None = None
    stages: dict[str, float] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    weights: int = 0
    peak: int = 0
    pixels: int = 0
    equal: int = 0

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())

    def compare(self, labels: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
        """Count labels (1, H, W) of images that are those of fp32."""
        self.pixels += sum(map(Tensor.numel, labels))
        self.equal += sum(int((one == other).sum()) for one, other in zip(labels, exact, strict=True))

    def record(self) -> dict[str, object]:
        """Tell what a table shows of it: seconds an image, in all and by stage, and bytes at the highest point."""
        return {
            'seconds': self.seconds / self.images,
            'stages': {stage: seconds / self.images for stage, seconds in self.stages.items()},
            'memory': self.weights + self.peak,
            'weights': self.weights,
            'flops': self.flops.total,
            'beside': statistics.median(self.ratios),
        }


def costs(configs: dict[str, Config], limit: int) -> dict[str, Cost]:
    """Run ``limit`` images with each method, batch by batch; reading and text vectors are apart.

    In each batch the methods come in another order: what ran before, and how warm the machine is, makes up to 10 %.
    Where the backbone has another precision than fp32, each method's labels are compared with those of fp32.

    Args:
        configs: of each method by name, on one dataset and one backbone; the first is what the others are beside.

    Raises:
        BenchError: the data are not there, or the configs differ in more than the method.
    """
    if limit < 1:
        raise BenchError(f'the limit is {limit}; it must be at least 1')
    first = next(iter(configs.values()))
    if any(config.model.backbone != first.model.backbone for config in configs.values()):
        raise BenchError('the methods have different backbones; costs side by side need one')
    if any(config.test_dataloader != first.test_dataloader for config in configs.values()):
        raise BenchError('the methods have different data; costs side by side need one')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    dataset = build_dataset(first.test_dataloader.dataset)
    size, count = first.test_dataloader.batch_size, min(limit, len(dataset))
    models, exact = _built(configs, first.model.backbone, device), {}
    if first.model.backbone.get('precision', 'fp32') != 'fp32':
        exact = _built(configs, {**first.model.backbone, 'precision': 'fp32'}, device)
    found, shuffled = {name: Cost(weights=_bytes_of(model)) for name, model in models.items()}, random.Random(0)
    # The first round, of one image, warms caches and text vectors up and is not counted.
    batches = [range(1), *(range(begin, min(begin + size, count)) for begin in range(0, count, size))]
    for round_, batch in enumerate(batches):
        data = next(iter(models.values())).data_preprocessor(pseudo_collate([dataset[index] for index in batch]))
        seconds = {}
        for name in shuffled.sample([*models], len(models)):
            model = models[name]
            memory = PeakMemory(device)
            memory.begin()
            with stages_of({} if round_ == 0 else found[name].stages) as stages:
                labels = _labels(model, data)
            seconds[name] = sum(stages.values())
            found[name].peak = max(found[name].peak, memory.above_start())
            if round_ == 0:
                sample = data['data_samples'][0]
                original, path = tuple(sample.ori_shape), sample.get('img_path')
                found[name].flops = flops_of_image(model, data['inputs'][0], original, path)
            else:
                layouts = (Windows.over(tuple(image.shape[1:]), model.window, model.stride) for image in data['inputs'])
                found[name].windows += sum(map(len, layouts))
                found[name].images += len(data['inputs'])
                if exact:
                    found[name].compare(labels, _labels(exact[name], data))
        if round_ > 0:
            for name, cost in found.items():
                cost.ratios.append(seconds[name] / seconds[next(iter(models))])
    return found


def _built(configs: dict[str, Config], backbone: Mapping[str, object], device: torch.device) -> dict[str, nn.Module]:
    """The methods on one backbone of these settings."""
    clip = FrozenCLIP(**backbone)
    return {name: MODELS.build(dict(config.model, backbone=clip)).eval().to(device) for name, config in configs.items()}


def _labels(model: nn.Module, data: dict) -> list[Tensor]:
    return [sample.pred_sem_seg.data for sample in model.predict(data['inputs'], data['data_samples'])]


def print_costs(found: dict[str, Cost]) -> None:
    """A row a method: windows/s, operations, seconds a stage, memory, its batches' median beside the first, labels."""
    table = Table('method', title='cost of methods', title_justify='left')
    stages = [stage for stage in STAGES if any(f'{cost.stages.get(stage, 0):.1f}' != '0.0' for cost in found.values())]
    # Two lines, so that the columns are as narrow as their numbers.
    heads = ('windows\n/s', 'GFLOP\n/image', *(f'{stage}, s'.replace('+', '+\n') for stage in stages), 'MiB')
    for head in (*heads, f'beside\n{next(iter(found))}'):
        table.add_column(head, justify='right')
    compared = any(cost.pixels for cost in found.values())
    if compared:
        table.add_column('labels as\nin fp32', justify='right')
    for name, cost in found.items():
        seconds = (f'{cost.stages.get(stage, 0):.1f}' for stage in stages)
        rate, flops = f'{cost.windows / cost.seconds:.2f}', f'{cost.flops.total / 1e9:,.1f}'
        memory = f'{(cost.weights + cost.peak) / 2**20:,.0f}'
        equal = [f'{100 * cost.equal / cost.pixels:.2f} %'] if compared else []
        table.add_row(name, rate, flops, *seconds, memory, f'{statistics.median(cost.ratios):.3f}x', *equal)
    print_whole(Console(highlight=False), table)


def write_costs(path: Path, config: Config, found: dict[str, Cost]) -> None:
    """Write what methods cost here, for the tables that show it.

    Args:
        config: of the first method.
    """
    first = next(iter(found.values()))
    about = {
        'dataset': config.dataset,
        'images': first.images,
        'precision': config.model.backbone.get('precision', 'fp32'),
        'device': device_record(torch.device('cuda' if torch.cuda.is_available() else 'cpu')),
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
    }
    write_json(path, {'about': about, 'methods': {name: cost.record() for name, cost in found.items()}})


def _bytes_of(model: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
