"""Methods and datasets from outside the package, in files and modules that are named or that installed packages offer.

A plugin is a Python file or module. Every class that it registers with mmseg's ``MODELS`` and that is a
:class:`TrainingFreeSegmentor` is a method, called by its name in lower case. Two names in the module say more:

    METHODS = {'mine': dict(type='MyMethod', beta=2)}    # a method's name, and ``model`` of its base config
    DATASETS = {'farm': 'farm_config.py'}                # a dataset's name, and its base config: a file, or a dict

Each takes part like those of ``configs/_base_``: ``mine_voc21`` and ``naclip_farm`` are configs without a file.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isclass
from pathlib import Path
from types import ModuleType

from .errors import BenchError

#: Group of the entry points that name plugins of installed packages.
ENTRY_POINTS = 'naclip_bench.plugins'

#: Variable of the environment with the plugins that were named, so that processes started meanwhile have them too.
NAMED = 'NACLIP_BENCH_IMPORT'


@dataclass
class Plugin:
    """What a file or module offers.

    Attributes:
        name: as it was named.
        methods: ``model`` of the base config, by method.
        datasets: base config, or the path of one, by dataset.
        sources: its own Python files, which say what its methods are.
        error: why it cannot be used, in one line; empty: it can.
    """

    name: str
    methods: dict[str, dict] = field(default_factory=dict)
    datasets: dict[str, dict | Path] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)
    error: str = ''


def use_plugin(name: str) -> None:
    """Add a plugin for this process and those that it starts.

    Args:
        name: path of a Python file, or a module's name.

    Raises:
        BenchError: there is no such file.
    """
    if _is_file(name):
        if not Path(name).is_file():
            raise BenchError(f'there is no file {name} to import')
        name = str(Path(name).resolve())
    named = os.environ.get(NAMED, '').split(os.pathsep)
    if name not in named:
        os.environ[NAMED] = os.pathsep.join(filter(None, [*named, name]))


def plugins() -> list[Plugin]:
    """Every plugin, imported: those of installed packages, then those that were named.

    One that cannot be imported offers nothing and says why; the others are as they would be without it.
    """
    named = [(name, name) for name in os.environ.get(NAMED, '').split(os.pathsep) if name]
    return [_load(*names) for names in [*_installed(tuple(sys.path)), *named]]


def errors_of_plugins() -> str:
    """Why plugins cannot be used, to be put behind a message that something is unknown; empty: all can."""
    return ''.join(f'; {plugin.error}' for plugin in plugins() if plugin.error)


def one_line(error: BaseException) -> str:
    """Type and message of an error without line breaks, and the place of a syntax error."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())


def _is_file(name: str) -> bool:
    return name.endswith('.py') or os.sep in name


@cache
def _installed(_places: tuple[str, ...]) -> list[tuple[str, str]]:
    # Once: it opens a file of every package that is installed, and a table asks for a thousand configs.
    return [(point.name, point.module) for point in entry_points(group=ENTRY_POINTS)]


@cache
def _load(name: str, module_name: str) -> Plugin:
    try:
        module = _file_module(Path(module_name)) if _is_file(module_name) else import_module(module_name)
        folder = Path(module.__file__).parent
        datasets = {
            key: base if isinstance(base, dict) else folder / base
            for key, base in getattr(module, 'DATASETS', {}).items()
        }
        sources = sorted(folder.rglob('*.py')) if hasattr(module, '__path__') else [Path(module.__file__)]
        return Plugin(name, _methods_of(module), datasets, sources)
    except Exception as error:  # whatever a stranger's module raises, it must not end what does without it
        return Plugin(name, error=f'{name} cannot be imported: {one_line(error)}')


def plugin_module(path: Path) -> str:
    """Tell the name under which a plugin's file is imported."""
    return f'plugin:{path}'


def _file_module(path: Path) -> ModuleType:
    # Under a name that no import statement can mean: a file called test.py must not stand in for a module.
    spec = spec_from_file_location(plugin_module(path), path)
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _methods_of(module: ModuleType) -> dict[str, dict]:
    methods = getattr(module, 'METHODS', None)
    if methods is not None:
        return methods
    base = sys.modules.get('naclip_bench.methods.base')
    if base is None:
        return {}
    from mmseg.registry import MODELS

    return {
        made.__name__.lower(): dict(type=made.__name__)
        for made in MODELS.module_dict.values()
        if isclass(made)
        and issubclass(made, base.TrainingFreeSegmentor)
        and f'{made.__module__}.'.startswith(f'{module.__name__}.')
    }
