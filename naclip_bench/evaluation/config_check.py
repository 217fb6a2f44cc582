"""Every setting of a leaf config that something reads: is there such a one, and does its value fit?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS, TRANSFORMS

from ..backbones import FrozenCLIP
from ..errors import BenchError, did_you_mean
from ..helpers import HELPERS
from ..helpers.base import helper_type
from ..inference.refinements import refinement_type
from ..methods.base import TrainingFreeSegmentor
from ..methods.fitting import check_fits
from ..settings import Count, NonNegativeFloat, NonNegativeInt, fitting, resolved_settings
from .metric import ConfusionMetric

LogLevel = Literal['CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG']


@dataclass
class MultiProcessing:
    """Say what ``env_cfg.mp_cfg`` can hold; see mmengine's ``set_multi_processing``."""

    mp_start_method: Literal['fork', 'spawn', 'forkserver'] = 'fork'
    opencv_num_threads: NonNegativeInt = 0


@dataclass
class Environment:
    """Say what ``env_cfg`` can hold; see mmengine's ``Runner.setup_env``."""

    cudnn_benchmark: bool = False
    mp_cfg: dict = field(default_factory=dict)
    dist_cfg: dict = field(default_factory=dict)  #: arguments of torch's ``init_process_group``
    resource_limit: Count = 4096


@dataclass
class TestLoop:
    """Say what ``test_cfg`` can hold beside its type: precision is a setting of the backbone alone."""

    fp16: Literal[False] = False


@dataclass
class Loader:
    """Say what ``test_dataloader`` can hold; how images are ordered, batched and collated is the run's own matter."""

    dataset: dict
    sampler: dict | None = None
    batch_sampler: dict | None = None
    batch_size: Count = 1
    num_workers: NonNegativeInt = 0
    persistent_workers: bool = False
    pin_memory: bool = False
    prefetch_factor: Count | None = None
    timeout: NonNegativeFloat = 0


def check_config(config: Config) -> None:
    """Check the settings of a leaf config, before anything is built of it.

    Top-level keys that neither mmengine nor the suite reads may hold anything: a config file may use them as names.

    Raises:
        BenchError: a setting does not exist, is missing or does not fit; the line has its dotted name.
    """
    model = group('model', config.get('model'))
    check_group('model', model, registered('model', model, MODELS, TrainingFreeSegmentor, 'method'))
    if not isinstance(model.get('backbone'), FrozenCLIP):
        check_group('model.backbone', model.get('backbone') or {}, FrozenCLIP)
    check_fits(MODELS.get(model['type']), model)
    for name in HELPERS:
        if isinstance(model.get(name), Mapping):
            helper_type(f'model.{name}', model[name])
    if model.get('refine') is not None:
        check_group('model.refine', model['refine'], refinement_type(group('model.refine', model['refine'])))
    if isinstance(model.get('data_preprocessor'), Mapping):
        check_registered('model.data_preprocessor', model['data_preprocessor'], MODELS, 'preprocessor')

    loader = group('test_dataloader', config.get('test_dataloader'))
    check_group('test_dataloader', loader, Loader)
    for part, filled in (('sampler', {'dataset'}), ('batch_sampler', {'sampler', 'batch_size'})):
        if loader.get(part) is not None:
            check_registered(f'test_dataloader.{part}', loader[part], DATA_SAMPLERS, 'sampler', filled)
    check_registered('test_dataloader.dataset', loader['dataset'], DATASETS, 'dataset')
    for index, step in enumerate(loader['dataset'].get('pipeline') or ()):
        check_registered(f'test_dataloader.dataset.pipeline.{index}', step, TRANSFORMS, 'step')

    metric = group('test_evaluator', config.get('test_evaluator'))
    of = registered('test_evaluator', metric, METRICS, ConfusionMetric, 'metric of the suite')
    check_group('test_evaluator', metric, of)
    environment = config.get('env_cfg') or {}
    check_group('env_cfg', environment, Environment)
    check_group('env_cfg.mp_cfg', environment.get('mp_cfg') or {}, MultiProcessing)
    check_group('test_cfg', config.get('test_cfg') or {}, TestLoop)
    group('default_hooks', config.get('default_hooks') or {})
    fitting('log_level', config.get('log_level', 'INFO'), LogLevel)


def check_group(where: str, given: object, of: Callable, filled: Iterable[str] = ()) -> None:
    """Check the settings of one group, its ``type`` aside; see :func:`resolved_settings`."""
    resolved_settings(where, of, {name: value for name, value in group(where, given).items() if name != 'type'}, filled)


def check_registered(where: str, given: object, registry: Registry, what: str, filled: Iterable[str] = ()) -> None:
    """Check the settings of one group against the class that its ``type`` names; see :func:`registered`."""
    check_group(where, given, registered(where, group(where, given), registry, object, what), filled)


def group(where: str, given: object) -> Mapping:
    """Take what stands at ``where`` for a group of settings.

    Raises:
        BenchError: it is none.
    """
    if not isinstance(given, Mapping):
        raise BenchError(f'{where} is {given!r}; it must be a group of settings: {where}.KEY=VALUE')
    return given


def registered(where: str, given: Mapping, registry: Registry, base: type, what: str) -> type:
    """Find the class that a ``type`` names.

    Args:
        where: what the settings stand in.
        given: the settings, ``type`` among them.
        registry: where the class is registered, or a parent of it.
        base: what it must be a subclass of.
        what: the kind of class, for the message.

    Raises:
        BenchError: there is no such class.
    """
    name = given.get('type')
    if inspect.isclass(name):
        # It has no name that could stand in a key and in a printed config.
        raise BenchError(f'{where}.type is a class; give the name it is registered under, {name.__name__!r}')
    found = registry.get(name) if isinstance(name, str) else None
    if not (inspect.isclass(found) and issubclass(found, base)):
        classes = {}
        while registry is not None:
            classes, registry = {**registry.module_dict, **classes}, registry.parent
        known = [name for name, cls in classes.items() if inspect.isclass(cls) and issubclass(cls, base)]
        raise BenchError(f'{where}.type is {name!r}, which is no {what}{did_you_mean(str(name), known)}')
    return found
