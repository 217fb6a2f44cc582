"""A config by its name, or by its method and dataset, with settings in it.

A leaf config is a method's base config and a dataset's. Those of the suite are files in ``configs/``; where there is no
file, as with plugins, ``<method>_<dataset>`` is put together from the two bases.
"""

from __future__ import annotations

import gc
import io
import sys
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from .bundled import CONFIGS
from .console import telling
from .errors import BenchError, did_you_mean
from .plugins import errors_of_plugins, plugins
from .precision import AUTO, precision_for

#: What the data roots of the configs begin with; ``data_root`` of :func:`load_config` takes its place.
DATA = 'data'

#: Protocol of a config that is none of the suite's.
OWN = 'own'

#: Keys that say what a leaf config is; to change them would give a result another name, not another content.
FIXED = {'protocol', 'dataset', 'images', 'split', 'recipe', 'note', 'vocabulary', 'released', 'pipelines'}

#: Settings of a model that belong to its dataset.
VOCABULARY = ('class_names', 'prob_thd')

#: Settings of a model that the common protocol decides; a method that brings its own has its own protocol.
PROTOCOL = {*VOCABULARY, 'templates', 'window', 'stride', 'logit_scale', 'area_thd', 'refine'}

#: Settings of a model that are a frozen model beside CLIP's; see :mod:`naclip_bench.helpers`.
HELPERS = ('helper', 'sam', 'refiner', 'regions')

#: The CLIP of a method that names none, as the bundled base configs have it.
BACKBONE = dict(arch='ViT-B-16-quickgelu', pretrained='openai')


# ---- what there is


def register() -> None:
    """Make every part of the suite, and every plugin, known to mmengine, as ``custom_imports`` of the configs does."""
    _register()
    plugins()
    init_default_scope('mmseg')


@cache
def _register() -> None:
    collects = gc.isenabled()
    # What imports make stays. To look through it for garbage, again and again and at the end, takes a third of the time
    # of a command that computes nothing.
    gc.disable()
    try:
        with telling('loading PyTorch and MMSegmentation'), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            # mmcv tells of compiled parts that are not there and that nothing here needs.
            warnings.filterwarnings('ignore', module='mm(cv|engine|seg)[.]')
            for package in ('datasets', 'evaluation', 'methods'):
                import_module(f'naclip_bench.{package}')
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def method_bases() -> dict[str, Path | dict]:
    """The base config of every method, by its name: a file, or what a plugin has as ``model``."""
    return _bases('methods')


def dataset_bases() -> dict[str, Path | dict]:
    """The base config of every dataset, by its name: a file, or what a plugin has in its place."""
    return _bases('datasets')


def _bases(kind: str) -> dict[str, Path | dict]:
    bases = {path.stem: path for path in sorted((CONFIGS / '_base_' / kind).glob('*.py'))}
    for plugin in plugins():
        for name, base in getattr(plugin, kind).items():
            if name in bases:
                raise BenchError(f'{plugin.name} brings {name}, a name of {kind} that is taken; give it another')
            bases[name] = base
    return bases


def config_names() -> list[str]:
    """Names of all leaf configs: ``naclip_voc21``, ``official/naclip_voc21``, and every method on every dataset."""
    return sorted({*_files(), *_pairs()})


@cache
def _files() -> dict[str, Path]:
    paths = ((path.relative_to(CONFIGS), path) for path in CONFIGS.rglob('*.py'))
    return {below.with_suffix('').as_posix(): path for below, path in paths if not below.parts[0].startswith('_')}


def _pairs() -> dict[str, tuple[str, str]]:
    return {f'{method}_{dataset}': (method, dataset) for method in method_bases() for dataset in dataset_bases()}


def find_config(name: str) -> Path | None:
    """The file of a config given by its path or its name; None for one that has none.

    A name of the suite is never taken for a file in the working folder: ``./naclip_voc21`` is one.

    Raises:
        BenchError: there is no such config; says what comes close.
    """
    if name in _files():
        return _files()[name]
    if Path(name).is_file():
        return Path(name)
    if name in _pairs():
        return None
    stem = name.removesuffix('.py').split('configs/', 1)[-1]
    raise BenchError(f'there is no config {name}{did_you_mean(stem, config_names())}{errors_of_plugins()}')


def method_config(name: str) -> str:
    """Name of a config of the method ``name``; any other name is taken for a config's own.

    Raises:
        BenchError: there is no such method and no such config.
    """
    return _config_with('method', method_bases(), name, f'{name}_voc20')


def dataset_config(name: str) -> str:
    """Name of a config of the dataset ``name``; any other name is taken for a config's own.

    Raises:
        BenchError: there is no such dataset and no such config.
    """
    return _config_with('dataset', dataset_bases(), name, f'naclip_{name}')


def _config_with(what: str, bases: dict, name: str, config: str) -> str:
    if name in bases:
        return config
    if name in config_names() or Path(name).is_file():
        return name
    known = [*bases, *config_names()]
    raise BenchError(f'there is no {what} or config {name}{did_you_mean(name, known)}{errors_of_plugins()}')


def check_pair(method: str, dataset: str) -> None:
    """See that there are such a method and such a dataset, for :func:`load_pair`.

    Raises:
        BenchError: there are not; says what comes close.
    """
    if method not in method_bases():
        raise BenchError(f'there is no method {method}{did_you_mean(method, method_bases())}{errors_of_plugins()}')
    if dataset not in dataset_bases() and not Path(dataset).is_file():
        raise BenchError(f'there is no dataset {dataset}{did_you_mean(dataset, dataset_bases())}{errors_of_plugins()}')


def config_label(name: str) -> str:
    """Name of a config as a folder of results: the name by which it is known, or the stem of its file."""
    path = find_config(name)
    if path is None:
        return name
    path = path.resolve()
    return path.relative_to(CONFIGS).with_suffix('').as_posix() if path.is_relative_to(CONFIGS) else path.stem


# ---- reading


def parse_settings(texts: Iterable[str]) -> dict[str, object]:
    """Settings of a config from ``KEY=VALUE``: ``['model.stride=56']`` to ``{'model.stride': 56}``.

    Raises:
        BenchError: one is not ``KEY=VALUE``, or does not close a bracket.
    """
    settings = {}
    for text in texts:
        key, equals, value = text.partition('=')
        try:
            if not equals:
                raise ValueError
            settings[key] = DictAction._parse_iterable(value)
        except (ValueError, AssertionError):
            raise BenchError(f'"{text}" is not KEY=VALUE, or a bracket in it is not closed') from None
    return settings


def read_base(base: Path | dict) -> Config:
    """A base config as it stands; what its ``custom_imports`` name is not imported.

    Raises:
        BenchError: it cannot be read.
    """
    return Config(deepcopy(base)) if isinstance(base, dict) else _read(base, imports=False)


def _read(path: Path, imports: bool = True) -> Config:
    try:
        return deepcopy(_read_once(path, path.stat().st_mtime_ns, imports))
    except Exception as error:  # a config is Python, and may raise anything
        raise BenchError(f'cannot read the config {path}: {error}') from None


@cache
def _read_once(path: Path, _changed: int, imports: bool) -> Config:
    # Once, as a table asks for the same file row by row.
    return Config.fromfile(path, import_custom_modules=imports)


def _paired(method: str, dataset: str) -> Config:
    """The leaf config of a method and a dataset, from their bases."""
    method_base, known = method_bases()[method], dataset_bases()
    own = read_base(known[dataset]) if dataset in known else _read(Path(dataset))
    config = read_base(CONFIGS / '_base_' / 'common.py')
    config.merge_from_dict(own.to_dict())
    config.setdefault('dataset', dataset)
    if 'vocabulary' not in config:
        config.vocabulary = {key: config.model[key] for key in VOCABULARY if key in config.get('model', ())}
    if isinstance(method_base, Path):
        config.model = read_base(method_base).model
    else:
        config.model = dict(backbone=BACKBONE) | deepcopy(method_base)
    bundled = isinstance(known.get(dataset), Path) and known[dataset].is_relative_to(CONFIGS)
    if not bundled or PROTOCOL & {*config.model}:
        config.protocol = OWN
    config.merge_from_dict(dict(model=config.vocabulary.to_dict()))
    return config


def load_config(
    name: str,
    data_root: str | None = None,
    pretrained: str | None = None,
    precision: str | None = None,
    cfg_options: dict | None = None,
) -> Config:
    """Read a leaf config and put settings into it.

        load_config('naclip_voc21').model.type                                    # 'NACLIP'
        load_config('naclip_voc21', cfg_options={'model.stride': 56})

    Args:
        name: path or name of the config.
        data_root: folder that takes the place of ``data``.
        pretrained: see :class:`FrozenCLIP`; ``none`` for random weights.
        precision: fp32, bf16, fp16, or ``auto``; see :func:`precision_for`.
        cfg_options: any setting by its dotted name.

    Raises:
        BenchError: there is no such config, it cannot be read, or a setting does not fit it.
    """
    register()
    path = find_config(name)
    if path is None:
        return load_pair(*_pairs()[name], data_root, pretrained, precision, cfg_options)
    config = _read(path)
    # Each copy of the config that mmengine writes would go through yapf, seconds where paths are long; fromfile() has
    # a switch against it that has no effect.
    config = Config(config.to_dict(), cfg_text=config.text, filename=config.filename, format_python_code=False)
    absent = [key for key in ('model', 'dataset', 'test_dataloader') if key not in config]
    if absent:
        raise BenchError(f'{path} is no benchmark config: it has no {", ".join(absent)}')
    if not path.resolve().is_relative_to(CONFIGS):
        config.protocol = OWN
    return _with_settings(config, str(path), data_root, pretrained, precision, cfg_options)


def load_pair(
    method: str,
    dataset: str,
    data_root: str | None = None,
    pretrained: str | None = None,
    precision: str | None = None,
    cfg_options: dict | None = None,
) -> Config:
    """Read, or put together, the leaf config of a method on a dataset; else as :func:`load_config`.

        load_pair('sclip', 'my_config.py')    # another method on the data of an own config

    Args:
        method: name of a method.
        dataset: name of a dataset, or path of a config that has one.
        data_root, pretrained, precision, cfg_options: see :func:`load_config`.

    Raises:
        BenchError: there is no such method or dataset; see also :func:`load_config`.
    """
    register()
    check_pair(method, dataset)
    name, settings = f'{method}_{dataset}', (data_root, pretrained, precision, cfg_options)
    if name in _files():
        return load_config(name, *settings)
    config = _paired(method, dataset)
    if 'test_dataloader' not in config or not config.vocabulary.get('class_names'):
        raise BenchError(f'the dataset {dataset} has no vocabulary=dict(class_names=...)')
    return _with_settings(Config(config.to_dict(), format_python_code=False), name, *settings)


def _with_settings(
    config: Config,
    where: str,
    data_root: str | None,
    pretrained: str | None,
    precision: str | None,
    cfg_options: dict | None,
) -> Config:
    broken = sys.modules['naclip_bench.methods'].BROKEN.get(config.model.get('type'))
    if broken:
        raise BenchError(f'the method {config.model.type} cannot be used: {broken}')
    given = cfg_options or {}
    for name, value in (('pretrained', pretrained), ('precision', precision)):
        if value is not None and f'model.backbone.{name}' in given:
            raise BenchError(
                f'{name} is {value}, and model.backbone.{name} {given[f"model.backbone.{name}"]}; give one'
            )
    if cfg_options:
        # A misspelt key would be merged as a new one that nothing reads.
        unknown = [key for key in cfg_options if key.split('.')[0] not in {*config} - FIXED]
        if unknown:
            raise BenchError(f'there is no setting {unknown[0]}{_setting_like(unknown[0], config)}')
        no_refinement = config.model.get('refine') is None
        other = cfg_options.get('model.refine.type')
        if other is not None and not no_refinement and other != config.model.refine.get('type', 'PAMR'):
            # Another refinement has other settings.
            config.model.refine = {}
        try:
            config.merge_from_dict(cfg_options)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise BenchError(f'the settings do not fit: {error}') from None
        if no_refinement and set(config.model.get('refine') or ()) == {'query_chunk'}:
            # Asked for when memory ran out, it makes no refinement where there is none.
            del config.model['refine']
    backbone = config.model.setdefault('backbone', {})
    if pretrained is not None:
        backbone['pretrained'] = None if pretrained.lower() == 'none' else pretrained
        if pretrained.lower() == 'none':
            for name, helper in ((name, config.model.get(name)) for name in HELPERS):
                # A folder of region maps has no weights, and what is named by itself is meant.
                if helper and 'folder' not in helper and f'model.{name}.pretrained' not in given:
                    helper['pretrained'] = None
    if precision is not None:
        backbone['precision'] = _device_precision() if precision == AUTO else precision
    dataset = config.test_dataloader.dataset
    if data_root is not None and 'data_root' in dataset:
        first, *rest = Path(dataset.data_root).parts
        if first != DATA:
            raise BenchError(f'a data root takes the place of {DATA}/, but {where} has its data in {dataset.data_root}')
        dataset.data_root = str(Path(data_root, *rest))
    return config


def _device_precision() -> str:
    import torch

    return precision_for('cuda' if torch.cuda.is_available() else 'cpu')


def _setting_like(name: str, config: Config) -> str:
    from mmseg.registry import MODELS

    from .settings import parameters_of

    of_model = [f'model.{parameter}' for parameter in parameters_of(MODELS.get(config.model.type))[0]]
    if f'model.{name}' in of_model:
        return f', but model.{name}'
    return did_you_mean(name.split('.')[0], config)
