"""A config from its name and the command line."""

from __future__ import annotations

import io
import warnings
from argparse import SUPPRESS, ArgumentError, ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from .bundled import CONFIGS
from .errors import BenchError, did_you_mean

#: What the data roots of the configs begin with; ``--data-root`` takes its place.
DATA = 'data'


class Overrides(DictAction):
    """KEY=VALUE settings of a command line as a dict; see mmengine's ``DictAction``."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Sequence[str], option_string: str | None = None
    ) -> None:
        for value in values:
            try:
                super().__call__(parser, namespace, [value], option_string)
            except (ValueError, AssertionError):
                raise ArgumentError(self, f'"{value}" is not KEY=VALUE, or a bracket in it is not closed') from None


#: Protocol of a config that is none of the suite's.
OWN = 'own'

#: Keys that say what a leaf config is; to change them would give a result another name, not another content.
FIXED = {'protocol', 'dataset', 'images', 'split', 'recipe', 'note', 'vocabulary', 'released', 'pipelines'}


def add_config_arguments(parser: ArgumentParser) -> None:
    """What every command that runs a config takes; see :func:`config_of`."""
    add = parser.add_argument
    add('config', help='path or name of a config: configs/naclip_voc21.py, or naclip_voc21')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add_model_arguments(parser)


def add_model_arguments(parser: ArgumentParser) -> None:
    """What every command that builds a model takes."""
    add = parser.add_argument
    add(
        '--pretrained',
        metavar='WEIGHTS',
        help='open_clip tag (openai, laion2b_s34b_b88k, metaclip_400m, ...), a local file (.pt, .safetensors, '
        'TorchScript archive), "materials" for the tiny CLIP of Materials, or "none" for random weights',
    )
    add('--precision', choices=['fp32', 'bf16', 'fp16'], help='of the vision tower (default: fp32, the reference)')
    add(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='change any setting of the config: model.stride=56 model.window_batch=64 test_dataloader.num_workers=8',
    )


def add_run_arguments(parser: ArgumentParser) -> None:
    """What every command that runs leaves takes."""
    add = parser.add_argument
    add('--store', type=Path, default=Path('work_dirs/results'), metavar='DIR', help='results (default: %(default)s)')
    add('--fresh', action='store_true', help='compute everything anew, whatever the store has')
    add_launcher_arguments(parser)


def add_launcher_arguments(parser: ArgumentParser) -> None:
    """What every command that can be spread over processes takes."""
    add = parser.add_argument
    add('--launcher', default='none', choices=['none', 'pytorch', 'slurm', 'mpi'], help='for several processes')
    # torchrun of older versions passes the rank as an argument; the environment has it too.
    add('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)


def config_of(arguments: Namespace) -> Config:
    """The config that a command line asks for."""
    return load_config(
        arguments.config, arguments.data_root, arguments.pretrained, arguments.precision, arguments.cfg_options
    )


def method_config(name: str) -> str:
    """Name of a config of the method ``name``; any other name is taken for a config's own.

    Raises:
        BenchError: there is no such method and no such config.
    """
    return _config_with('method', 'methods', name, f'{name}_voc20')


def dataset_config(name: str) -> str:
    """Name of a config of the dataset ``name``; any other name is taken for a config's own.

    Raises:
        BenchError: there is no such dataset and no such config.
    """
    return _config_with('dataset', 'datasets', name, f'naclip_{name}')


def _config_with(what: str, folder: str, name: str, config: str) -> str:
    parts = [path.stem for path in (CONFIGS / '_base_' / folder).glob('*.py')]
    if name in parts:
        return config
    if name in config_names() or Path(name).is_file():
        return name
    raise BenchError(f'there is no {what} or config {name}{did_you_mean(name, parts + config_names())}')


def register() -> None:
    """Make every part of the suite known to mmengine, as ``custom_imports`` of the configs does."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        # mmseg tells of optional parts that are not there and that nothing here needs.
        warnings.simplefilter('ignore')
        for package in ('datasets', 'evaluation', 'methods'):
            import_module(f'naclip_bench.{package}')
    init_default_scope('mmseg')


def config_names() -> list[str]:
    """Names of all leaf configs: ``naclip_voc21``, ``official/naclip_voc21``, ..."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
    return sorted(path.with_suffix('').as_posix() for path in paths if not path.parts[0].startswith('_'))


def find_config(name: str) -> Path:
    """The file of a config given by its path or its name.

    Raises:
        BenchError: there is none; says what comes close.
    """
    for path in (Path(name), CONFIGS / f'{name}.py'):
        if path.is_file():
            return path
    stem = name.removesuffix('.py')
    stem = stem.split('configs/', 1)[-1]
    raise BenchError(f'there is no config {name}{did_you_mean(stem, config_names())}')


@cache
def _read(path: Path, _changed: int) -> Config:
    """A config file as it stands; once, as mmengine takes a tenth of a second and a table asks for it row by row."""
    return Config.fromfile(path)


def load_config(
    name: str,
    data_root: str | None = None,
    pretrained: str | None = None,
    precision: str | None = None,
    cfg_options: dict | None = None,
) -> Config:
    """A leaf config with the command line's settings in it.

    Args:
        name: path or name of the config.
        data_root: folder that takes the place of ``data``.
        pretrained: see :class:`FrozenCLIP`; ``none`` for random weights.
        precision: fp32, bf16 or fp16.
        cfg_options: any setting by its dotted name.
    """
    path = find_config(name)
    try:
        config = deepcopy(_read(path, path.stat().st_mtime_ns))
    except (SyntaxError, KeyError, OSError, TypeError) as error:
        raise BenchError(f'cannot read the config {path}: {error}') from None
    # Each copy of the config that mmengine writes would go through yapf, seconds where paths are long; fromfile() has
    # a switch against it that has no effect.
    config = Config(config.to_dict(), cfg_text=config.text, filename=config.filename, format_python_code=False)
    absent = [key for key in ('model', 'dataset', 'test_dataloader') if key not in config]
    if absent:
        raise BenchError(f'{path} is no benchmark config: it has no {", ".join(absent)}')
    if not path.resolve().is_relative_to(CONFIGS):
        config.protocol = OWN
    if cfg_options:
        # A misspelt key would be merged as a new one that nothing reads.
        unknown = [key for key in cfg_options if key.split('.')[0] not in {*config} - FIXED]
        if unknown:
            raise BenchError(f'--cfg-options: there is no {unknown[0]}{did_you_mean(unknown[0].split(".")[0], config)}')
        no_refinement = config.model.get('refine') is None
        try:
            config.merge_from_dict(cfg_options)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise BenchError(f'--cfg-options: {error}') from None
        if no_refinement and set(config.model.get('refine') or ()) == {'query_chunk'}:
            # Asked for when memory ran out, it makes no refinement where there is none.
            del config.model['refine']
    backbone = config.model.setdefault('backbone', {})
    if pretrained is not None:
        backbone['pretrained'] = None if pretrained.lower() == 'none' else pretrained
    if precision is not None:
        backbone['precision'] = precision
    dataset = config.test_dataloader.dataset
    if data_root is not None and 'data_root' in dataset:
        first, *rest = Path(dataset.data_root).parts
        if first != DATA:
            raise BenchError(f'--data-root takes the place of {DATA}/, but {path} has its data in {dataset.data_root}')
        dataset.data_root = str(Path(data_root, *rest))
    return config


def config_label(path: Path) -> str:
    """Name of a config as a folder of work_dirs: below ``configs/``, or its stem elsewhere."""
    path = path.resolve()
    return path.relative_to(CONFIGS).with_suffix('').as_posix() if path.is_relative_to(CONFIGS) else path.stem
