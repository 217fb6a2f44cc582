"""How fast a config runs here, against the plain way of the same work in the same run."""

from __future__ import annotations

import copy
import ctypes
import gc
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS
from rich.table import Column, Table
from torch import Tensor

from ..checks.start import build_dataset
from ..console import print_whole, screen
from ..errors import BenchError
from ..evaluation.confusion import confusion_matrix
from ..evaluation.leaf import Leaf, Selection
from ..evaluation.opened import Pass
from ..evaluation.record import RANDOM_WEIGHTS, device_record
from ..inference.densecrf import DenseCRF
from ..inference.windows import Windows
from ..methods.base import TrainingFreeSegmentor
from ..timing import STOPWATCH, product_rate
from .flops import Flops, flops_of_image
from .limits import decode_seconds, memory_rate, work_of
from .plain import plain_decide, plain_logits, plain_pamr


@dataclass
class Measured:
    """One benchmark run.

    Attributes:
        stages: seconds of each stage, our way, and how often the batches ran.
        plain: seconds of each stage, the plain way.
        text: seconds for the text vectors, once a run; next to nothing where the cache holds them.
        ratios: of each batch, plain seconds over ours: end to end, and of stitch+decide.
        agreement: share of pixels with equal labels.
        matrix_rate: FLOP/s of a matrix product in the model's precision, the median of this run.
        trunk_rate: FLOP/s of the trunk.
        least: seconds that each stage would take at the rates measured beside it; see :mod:`.limits`.
        memory_rate: bytes/s of a copy, the median of this run.
        peak: bytes above the weights at the highest point of our way.
        flops: what the first image costs.
    """

    images: int = 0
    windows: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    text: float = float('nan')
    ratios: list[float] = field(default_factory=list)
    stitch_ratios: list[float] = field(default_factory=list)
    agreement: float = float('nan')
    matrix_rate: float = float('nan')
    trunk_rate: float = float('nan')
    least: dict[str, float] = field(default_factory=dict)
    memory_rate: float = float('nan')
    peak: int = 0
    flops: Flops | None = None
    device: torch.device = field(default_factory=lambda: torch.device('cpu'))

    @property
    def seconds(self) -> float:
        """Our way end to end; text vectors, computed once and cached, are apart."""
        return sum(self.stages.values())


def benchmark(config: Config, limit: int, with_plain: bool = True) -> Measured:
    """Run ``limit`` images our way and, batch by batch in turn, the plain way in fp32.

    Raises:
        BenchError: the data are not there.
    """
    torch.manual_seed(0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    Pass([Leaf(config.dataset, config)]).check(Selection())
    dataset = build_dataset(config.test_dataloader.dataset)
    size, count = config.test_dataloader.batch_size, min(limit, len(dataset))
    if count < 1:
        raise BenchError(f'the limit is {limit}; it must be at least 1')
    model = MODELS.build(config.model).eval().to(device)
    # All pixels with all: the plain way of DenseCRF would take hours an image.
    with_plain = with_plain and not isinstance(model.refine, DenseCRF)
    reference = _reference(config, model, device) if with_plain else None
    memory = PeakMemory(device)
    batches = [list(range(first, min(first + size, count))) for first in range(0, count, size)]

    measured = Measured(images=count, device=device)
    classes, rates, copies, flops, equal, pixels = len(dataset.metainfo['classes']), [], [], 0, 0, 0
    with stages_of({}) as warm_up:
        data = model.data_preprocessor(pseudo_collate([dataset[index] for index in batches[0]]))
        samples = model.predict(data['inputs'], data['data_samples'])
    # Text vectors, caches and kernels are warm now, of the reference too: none of them is in the figures.
    measured.text = warm_up['text']
    of_first = data['data_samples'][0]
    measured.flops = flops_of_image(model, data['inputs'][0], tuple(of_first.ori_shape), of_first.get('img_path'))
    if reference is not None:
        plain_labels(reference, data['inputs'][0], tuple(samples[0].ori_shape))
    for batch in batches:
        rates.append(_matrix_rate(model, device))
        memory.begin()
        with stages_of(measured.stages) as ours:
            with STOPWATCH.stage('read'):
                data = pseudo_collate([dataset[index] for index in batch])
            data = model.data_preprocessor(data)
            samples = model.predict(data['inputs'], data['data_samples'])
            with STOPWATCH.stage('metric', device):
                for sample in samples:
                    confusion_matrix(sample.pred_sem_seg.data, sample.gt_sem_seg.data, classes).cpu()
        measured.peak = max(measured.peak, memory.above_start())
        rates.append(_matrix_rate(model, device))
        copies.append(memory_rate(device))
        least = Counter(read=decode_seconds(dataset.get_data_info(index)['img_path'] for index in batch))
        for image, sample in zip(data['inputs'], samples, strict=True):
            windows = Windows.over(tuple(image.shape[-2:]), model.window, model.stride)
            measured.windows += len(windows)
            of_trunk = model.backbone.trunk_flops(
                len(windows), model.backbone.grid(*windows.window), model.shared_depth
            )
            of_method = measured.flops.method * len(windows) // measured.flops.windows
            work = work_of(model, tuple(sample.ori_shape), of_trunk, of_method)
            least.update(work.least_seconds(rates[-1], copies[-1]))
            flops += of_trunk
        measured.least = {stage: measured.least.get(stage, 0.0) + seconds for stage, seconds in least.items()}
        if reference is None:
            continue
        with stages_of(measured.plain) as plain:
            for image, sample in zip(data['inputs'], samples, strict=True):
                labels = plain_labels(reference, image, tuple(sample.ori_shape))
                equal += int((labels == sample.pred_sem_seg.data[0]).sum())
                pixels += labels.numel()
        shared = ours['read'] + ours['metric']
        measured.ratios.append((sum(plain.values()) + shared) / sum(ours.values()))
        measured.stitch_ratios.append(plain['stitch+decide'] / ours['stitch+decide'])
    measured.trunk_rate = flops / measured.stages['trunk']
    measured.matrix_rate, measured.memory_rate = statistics.median(rates), statistics.median(copies)
    measured.agreement = equal / pixels if pixels else float('nan')
    return measured


def print_benchmark(config: Config, measured: Measured) -> None:
    """Print a benchmark run: stages, rates, memory, and the plain way beside ours."""
    console = screen()
    columns = ('seconds', 'share', 'of its limit', 'plain way (fp32)')
    table = Table('stage', *(Column(name, justify='right') for name in columns))
    for stage, seconds in measured.stages.items():
        plain, least = measured.plain.get(stage), measured.least.get(stage)
        limit = f'{100 * least / seconds:.0f} %' if least else ''
        share = f'{100 * seconds / measured.seconds:.1f} %'
        table.add_row(stage, f'{seconds:.3f}', share, limit, f'{plain:.3f}' if plain is not None else '')
    table.add_row('text, once', f'{measured.text:.3f}', '', '', '')
    print_whole(console, table)
    if config.model.backbone.get('pretrained') is None:
        console.print(RANDOM_WEIGHTS, style='bold red')
    precision, device = config.model.backbone.get('precision', 'fp32'), device_record(measured.device)
    lines = [
        f'{config.dataset}, {config.model.type}, {precision}, {device["name"]}, {device["threads"]} threads',
        f'{measured.images} images, {measured.windows} windows in {measured.seconds:.2f} s: '
        f'{measured.windows / measured.seconds:.2f} windows/s, {measured.images / measured.seconds:.2f} images/s',
        f'trunk {measured.trunk_rate / 1e9:.0f} GFLOP/s, '
        f'{100 * measured.trunk_rate / measured.matrix_rate:.0f} % of a matrix product '
        f'({measured.matrix_rate / 1e9:.0f} GFLOP/s in this run)',
        f'{measured.flops.text} (the first, two for each multiply-add)',
        f'limits: matrix products; decoding alone; memory at {measured.memory_rate / 1e9:.1f} GB/s in this run',
        f'everything but the trunk: {100 * (1 - measured.stages["trunk"] / measured.seconds):.1f} % of the time',
        f'peak memory above the weights: {measured.peak / 2**20:.0f} MiB',
    ]
    if measured.ratios:
        lines += [
            f'against the plain way: {statistics.median(measured.ratios):.2f}x end to end, '
            f'{statistics.median(measured.stitch_ratios):.1f}x in stitch+decide (medians over the batches); '
            f'{100 * measured.agreement:.4f} % of labels equal',
        ]
    for line in lines:
        console.print(line, markup=False)


@contextmanager
def stages_of(total: dict[str, float]) -> Iterator[dict[str, float]]:
    """Seconds of each stage in a block of work, known behind it, and added to ``total``."""
    STOPWATCH.reset()
    part: dict[str, float] = {}
    yield part
    part.update(STOPWATCH.seconds())
    for stage, seconds in part.items():
        total[stage] = total.get(stage, 0.0) + seconds


def _reference(config: Config, model: TrainingFreeSegmentor, device: torch.device) -> TrainingFreeSegmentor:
    """The model in fp32, which is what the released code is on a CPU."""
    if model.backbone.precision == 'fp32':
        return model
    settings = copy.deepcopy(config.model)
    settings.backbone.precision = 'fp32'
    return MODELS.build(settings).eval().to(device)


@torch.no_grad()
def plain_labels(model: TrainingFreeSegmentor, image: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels of one image the plain way; its stages go to the stopwatch, those of the backbone by themselves."""
    device = image.device
    vectors = model.text[0][model.vocabulary.occurrences.to(device)]

    def window_logits(crop: Tensor) -> Tensor:
        tokens, trunk = model.window_tokens(crop)
        return model.match(tokens, vectors, trunk).transpose(1, 2).unflatten(2, trunk.grid)

    before = STOPWATCH.seconds()
    with STOPWATCH.stage('stitch+decide', device):
        logits = plain_logits(window_logits, image, size, model.window, model.stride)
    after = STOPWATCH.seconds()
    # The backbone ran inside the stage above and told its own time: the stage is what is left, counted once.
    inside = sum(
        seconds - before.get(stage, 0.0) for stage, seconds in after.items() if stage in ('trunk', 'helper', 'method')
    )
    STOPWATCH.add('stitch+decide', -inside)
    if model.refine is not None:
        with STOPWATCH.stage('refine', device):
            logits = plain_pamr(logits, image, model.refine)
    with STOPWATCH.stage('stitch+decide', device):
        word_class = model.vocabulary.word_class.to(device)
        return plain_decide(logits, word_class, model.logit_scale, model.prob_thd, model.area_thd)


def _matrix_rate(model: TrainingFreeSegmentor, device: torch.device) -> float:
    """FLOP/s of the product of the trunk's feed-forward layer and of a large square one; the higher of the two."""
    backbone = model.backbone
    batch = model.batch_of_windows(device)
    tokens = backbone.native_grid[0] * backbone.native_grid[1] + backbone.prefix
    side = 2048 if device.type == 'cpu' else 8192
    shapes = ((batch * tokens, backbone.width, backbone.tower.hidden or backbone.width), (side, side, side))
    return max(product_rate(*shape, backbone.dtype, device) for shape in shapes)


class PeakMemory:
    """Highest memory above what was held when this was made, in bytes.

    On a GPU what torch allocated; else the resident memory of the process, which Linux tells (0 elsewhere).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == 'cuda':
            self.start = torch.cuda.memory_allocated(device)
        else:
            with suppress(OSError, AttributeError):
                # Memory that loading left free but held would hide what the run asks for.
                ctypes.CDLL('libc.so.6').malloc_trim(0)
            self.start = _resident('VmRSS')

    def begin(self) -> None:
        """Forget peaks so far."""
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                Path('/proc/self/clear_refs').write_text('5', encoding='ascii')

    def above_start(self) -> int:
        high = torch.cuda.max_memory_allocated(self.device) if self.device.type == 'cuda' else _resident('VmHWM')
        return max(high - self.start, 0)


def _resident(key: str) -> int:
    """VmRSS or VmHWM of this process in bytes; 0 where /proc does not tell."""
    with suppress(OSError):
        for line in Path('/proc/self/status').read_text(encoding='utf-8').splitlines():
            if line.startswith(f'{key}:'):
                return int(line.split()[1]) * 1024
    return 0
