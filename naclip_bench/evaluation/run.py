"""One run: a config over its dataset through mmengine's test loop, to a result with its proof."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.dist import all_gather_object, barrier, get_rank, is_main_process
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from mmseg.registry import MODELS

from ..backbones import FrozenCLIP
from ..datasets.check import build_dataset, check_labels_of, image_names, select
from ..datasets.splits import Deviation
from ..errors import BenchError, did_you_mean
from ..files import make_folder
from ..inference.pamr import PAMR
from ..methods.base import TrainingFreeSegmentor
from ..timing import STOPWATCH
from ..vocabulary import Vocabulary
from .journal import Journal
from .metric import ConfusionMetric
from .overlay import OverlayHook
from .predictions import PredictionHook
from .progress import ProgressHook
from .record import RANDOM_WEIGHTS, fingerprint, identity, result_record, write_json


@dataclass
class Request:
    """What is to be run, besides the config.

    Attributes:
        config: with the command line's settings in it.
        work_dir: where the journal and ``result.json`` go.
        limit, subset: see :func:`select`.
        resume: go on with the images that the journal lacks.
        show_dir: where overlays go; None draws none.
        save_predictions: where predictions go as index PNGs; None saves none.
        launcher: none, pytorch, slurm or mpi.
        overrides: settings changed on the command line, recorded beside the protocol's name.
    """

    config: Config
    work_dir: Path
    limit: int | None = None
    subset: Path | None = None
    resume: bool = False
    show_dir: Path | None = None
    save_predictions: Path | None = None
    launcher: str = 'none'
    overrides: dict[str, object] = field(default_factory=dict)


@MODEL_WRAPPERS.register_module()
class Unwrapped(torch.nn.Module):
    """No wrapper: a frozen model has no gradients to share between processes."""

    def __new__(cls, module: torch.nn.Module) -> torch.nn.Module:
        return module


def run(request: Request) -> dict[str, object]:
    """Segment and score the images that are not finished yet; the result record, also written by the first process.

    Raises:
        BenchError: what the user can mend; images finished before it stay in the journal.
    """
    config = request.config
    config.launcher, config.work_dir = request.launcher, str(request.work_dir)
    if request.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise BenchError('--launcher pytorch is for torchrun: torchrun --nproc_per_node=2 tools/test.py CONFIG ...')
    if request.launcher != 'none' and not torch.cuda.is_available():
        _join_processes_on_cpu(request.launcher)
    check_settings(config.model)
    dataset = build_dataset(config.test_dataloader.dataset)
    names = image_names(dataset)
    deviation = Deviation.of(names, config.split) if 'split' in config else None
    chosen = select(names, request.limit, request.subset, dataset.img_suffix)
    names = [names[index] for index in chosen]
    if len(chosen) < len(dataset):
        config.test_dataloader.dataset.indices = chosen
    check_classes(config, dataset.metainfo['classes'])
    make_folder('--work-dir', request.work_dir)
    make_folder('--show-dir', request.show_dir)
    make_folder('--save-predictions', request.save_predictions)

    STOPWATCH.reset()
    runner = _build_runner(config)
    model = runner.model
    if model.backbone.random_weights and is_main_process():
        print(RANDOM_WEIGHTS)
    if deviation and is_main_process():
        print(f'note: the data are not the official list "{config.split}": {deviation}')
    loop = runner.build_test_loop(runner._test_loop)
    runner._test_loop = loop
    check_labels_of(loop.dataloader.dataset)
    metric = next(m for m in loop.evaluator.metrics if isinstance(m, ConfusionMetric))
    parts = identity(config, model, names)
    metric.names, metric.ignore_index = names, dataset.ignore_index
    metric.journal = Journal(request.work_dir / 'images', parts, fingerprint(parts), len(metric.classes), get_rank())
    resumed = _take_up(request, metric, names)
    if request.save_predictions is not None:
        predictions = PredictionHook(
            request.save_predictions, names, len(metric.classes), dataset.reduce_zero_label, fingerprint(parts)
        )
        runner.register_hook(predictions)
        # An image whose prediction is lost is computed again; all processes agree, also where they share no disk.
        resumed = set().union(*all_gather_object(predictions.written(resumed)))
    place = {name: index for index, name in enumerate(names)}
    loop.dataloader.batch_sampler.leave_out([place[name] for name in resumed])

    progress = ProgressHook()
    runner.register_hook(progress)
    if request.show_dir is not None:
        runner.register_hook(OverlayHook(request.show_dir, names))
    begin = time.perf_counter()
    try:
        runner.test()
    finally:
        progress.close()
    wall = time.perf_counter() - begin

    times = {
        'wall': wall,
        'images': len(names) - len(resumed),
        'resumed': len(resumed),
        'stages': STOPWATCH.seconds(),
    }
    selection = {
        'official': config.get('images', len(dataset)),
        'official_list': None if deviation is None else deviation.record(),
        'limit': request.limit,
        'subset': str(request.subset) if request.subset else None,
    }
    record = result_record(
        config,
        model,
        names,
        parts,
        class_scores(metric),
        times,
        selection,
        {k: str(v) for k, v in request.overrides.items()},
    )
    if is_main_process():
        write_json(request.work_dir / 'result.json', record)
    return record


def _build_runner(config: Config) -> Runner:
    config.model_wrapper_cfg = dict(type='Unwrapped')
    config.test_dataloader.pin_memory = torch.cuda.is_available()
    with warnings.catch_warnings():
        # mmengine warns of hooks and optimizers that a test has no use for.
        warnings.simplefilter('ignore')
        return Runner.from_cfg(config)


def _join_processes_on_cpu(launcher: str) -> None:
    """A gloo group: mmengine's own set-up wants a GPU a process."""
    if launcher != 'pytorch':
        raise BenchError(f'--launcher {launcher} needs a GPU a process; on CPUs use torchrun and --launcher pytorch')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')


def check_settings(model: ConfigDict) -> None:
    """See that the method exists, and that it, its backbone and its refinement have all the settings given."""
    methods = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if inspect.isclass(cls) and issubclass(cls, TrainingFreeSegmentor)
    }
    if model.type not in methods:
        raise BenchError(f'unknown method "{model.type}"{did_you_mean(model.type, methods)}')
    # A method hands the settings that are not its own to the class above it.
    own = [cls for cls in methods[model.type].__mro__ if issubclass(cls, TrainingFreeSegmentor)]
    parts = (('model', own, model), ('model.backbone', [FrozenCLIP], model.get('backbone')))
    for where, classes, settings in (*parts, ('model.refine', [PAMR], model.get('refine'))):
        known = {name for cls in classes for name in inspect.signature(cls).parameters} - {'kwargs'} | {'type'}
        if not isinstance(settings, dict | None):
            raise BenchError(f'{where} is {settings!r}; it must be a group of settings: {where}.KEY=VALUE')
        for key in settings or ():
            if key not in known:
                raise BenchError(f'there is no setting {where}.{key}{did_you_mean(key, known)}')


def check_classes(config: Config, classes: tuple[str, ...]) -> None:
    vocabulary = Vocabulary(config.model.class_names)
    if len(vocabulary) != len(classes):
        raise BenchError(
            f'class names: {vocabulary.path} has {len(vocabulary)} classes, '
            f'but {config.test_dataloader.dataset.type} has {len(classes)}'
        )


def _take_up(request: Request, metric: ConfusionMetric, names: list[str]) -> set[str]:
    """Names of the images that an earlier run finished; without ``resume`` its journal is put aside."""
    journal = metric.journal
    if request.resume:
        wanted = set(names)
        # All processes agree on what is finished, also where they share no disk.
        for part in all_gather_object(journal.read()):
            metric.images.update({name: cells for name, cells in part.items() if name in wanted})
        return set(metric.images)
    if is_main_process():
        result = request.work_dir / 'result.json'
        unfinished = not result.exists()
        if journal.set_aside(result) and unfinished:
            print(
                f'note: the images of an unfinished run were put aside in {journal.folder}; to go on with it '
                'after all, take the dates off the names of its files and use --resume'
            )
    barrier()
    return set()


def class_scores(metric: ConfusionMetric) -> dict[str, object]:
    """Summary and per-class scores of a finished metric, as a result record has them."""
    confusion = metric.total()
    scores = metric.scores(confusion)
    truth = confusion.sum(1)
    per_class = [
        {'class': name, 'IoU': 100 * float(iou), 'Acc': 100 * float(accuracy), 'pixels': int(pixels)}
        for name, iou, accuracy, pixels in zip(metric.classes, scores.iou, scores.accuracy, truth, strict=True)
    ]
    return {'metrics': scores.percent(), 'pixels': int(np.sum(truth)), 'per_class': per_class}
