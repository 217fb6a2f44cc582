"""Options that commands share."""

from __future__ import annotations

from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BenchError
from ..plugins import use_plugin

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..tables.plan import Options


class Settings(Action):
    """KEY=VALUE settings of a command line as a dict; see :func:`parse_settings`."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Sequence[str], option_string: str | None = None
    ) -> None:
        from ..configuration import parse_settings

        try:
            changed = parse_settings(values)
        except BenchError as error:
            raise ArgumentError(self, str(error)) from None
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **changed})


class Import(Action):
    """Plugins, known as soon as they are named."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, value: str, option_string: str | None = None
    ) -> None:
        use_plugin(value)


def add_import(parser: ArgumentParser) -> None:
    """What every command that reads configs takes."""
    parser.add_argument(
        '--import',
        action=Import,
        metavar='PLUGIN',
        help='a Python file or module with methods or datasets of your own; repeatable',
    )


def add_data_root(parser: ArgumentParser) -> None:
    """What every command that reads a dataset takes."""
    parser.add_argument('--data-root', metavar='DIR', help='folder with the datasets (default: data)')


def add_part(parser: ArgumentParser, limit: int | None = None) -> None:
    """What commands take that can do with a part of a dataset."""
    add = parser.add_argument
    default = '' if limit is None else ' (default: %(default)s)'
    add('--limit', type=int, metavar='N', default=limit, help=f'only the first N images{default}')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')


def add_config_arguments(parser: ArgumentParser) -> None:
    """What every command that runs a config takes; see :func:`config_of`."""
    add = parser.add_argument
    add('config', nargs='?', help='path or name of a config: configs/naclip_voc21.py, or naclip_voc21')
    add('--method', help='in place of a config, with --dataset: naclip, ..., or one of a plugin')
    add('--dataset', help='in place of a config, with --method: voc21, ..., or the path of a config that has one')
    add_data_root(parser)
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
    add_precision(parser)
    add(
        '--cfg-options',
        nargs='+',
        action=Settings,
        metavar='KEY=VALUE',
        help='change any setting of the config: model.stride=56 model.window_batch=64 test_dataloader.num_workers=8',
    )
    add_import(parser)


def add_precision(parser: ArgumentParser) -> None:
    """What every command takes that computes with a vision tower."""
    parser.add_argument(
        '--precision',
        choices=['fp32', 'bf16', 'fp16', 'auto'],
        help='of the vision tower (default: fp32, the reference); auto: bf16 on GPUs and CPUs that have units for it',
    )


def add_run_arguments(parser: ArgumentParser) -> None:
    """What every command that computes into a store takes."""
    add = parser.add_argument
    add('--store', type=Path, default=Path('work_dirs/results'), metavar='DIR', help='results (default: %(default)s)')
    add('--fresh', action='store_true', help='compute everything anew, whatever the store has')
    add(
        '--keep-trunk',
        type=Path,
        metavar='DIR',
        help="keep what CLIP's untouched blocks give in DIR, in fp16, and read it there: a new method on old images "
        'costs its own blocks alone',
    )
    add_launcher(parser)


def add_launcher(parser: ArgumentParser) -> None:
    """What every command takes that can be spread over processes."""
    add = parser.add_argument
    add('--launcher', default='none', choices=['none', 'pytorch', 'slurm', 'mpi'], help='for several processes')
    # torchrun of older versions passes the rank as an argument; the environment has it too.
    add('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)


def settings_of(arguments: Namespace) -> tuple[str | None, str | None, str | None, dict | None]:
    """The settings of a command line as :func:`load_config` takes them behind a config's name."""
    settings, keep = arguments.cfg_options, getattr(arguments, 'keep_trunk', None)
    if keep:
        settings = {**(settings or {}), 'model.backbone.keep': str(keep)}
    return arguments.data_root, arguments.pretrained, arguments.precision, settings


def options_of(
    arguments: Namespace, datasets: Sequence[str] | None, rows: Sequence[str] | None, refine: Sequence[str] = ()
) -> Options:
    """What a plan of tables is to hold, as a command line asks for it."""
    from ..tables.plan import Options

    data_root, pretrained, precision, settings = settings_of(arguments)
    limit, subset = arguments.limit, arguments.subset
    return Options(datasets, rows, data_root, pretrained, precision, settings or {}, limit, subset, tuple(refine))


def config_of(arguments: Namespace) -> tuple[str, Config]:
    """The config that a command line asks for, and a name for it.

    Raises:
        BenchError: it names none, or two.
    """
    from ..configuration import config_label, load_config, load_pair

    name, pair = arguments.config, (arguments.method, arguments.dataset)
    if name and not any(pair):
        config = load_config(name, *settings_of(arguments))
        return config_label(name), config
    if name or not all(pair):
        raise BenchError('name a config, or give --method and --dataset')
    config = load_pair(*pair, *settings_of(arguments))
    return f'{arguments.method}_{Path(arguments.dataset).stem}', config
