"""The main job runs without the libraries that only some commands need, and those commands say what to install."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

from naclip_bench.data.ade847 import read_object_names
from naclip_bench.data.cityscapes import train_ids
from naclip_bench.data.pascal_context import labels_of_segments, spool
from naclip_bench.data.pc459 import read_matrix
from naclip_bench.errors import BenchError
from naclip_bench.figures.canvas import new_figure
from naclip_bench.methods.cliptrase.regions import clusters
from naclip_bench.optional import needed
from naclip_bench.tables.html import as_html

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / 'naclip_bench').rglob('*.py'))


def requirements(extra: str = '') -> set[str]:
    """Distributions that the package, or an extra of it, asks for."""
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg', encoding='utf-8')
    text = config['options.extras_require'][extra] if extra else config['options']['install_requires']
    return {re.match(r'[\w-]+', line)[0].lower().replace('_', '-') for line in text.split('\n') if line}


distributions = cache(packages_distributions)


def installed_by(module: str) -> set[str]:
    """The distributions that bring a module along; its own name where it is not installed."""
    names = distributions().get(module.split('.')[0], [module.split('.')[0]])
    return {name.lower().replace('_', '-') for name in names}


@pytest.mark.parametrize(
    ('module', 'extra', 'use'),
    [
        ('scipy.io', 'data', lambda: read_matrix(Path('a.mat'))),
        ('scipy.io', 'data', lambda: read_object_names(Path('index_ade20k.mat'))),
        ('ijson', 'data', lambda: spool(Path('trainval_merged.json'), [], Path())),
        ('pycocotools.mask', 'data', lambda: labels_of_segments(Path('trainval_merged.json'), Path('a.jsonl'))),
        ('cityscapesscripts.helpers.annotation', 'data', lambda: train_ids(Path('a_polygons.json'))),
        ('matplotlib.figure', 'report', lambda: new_figure(1, 1)),
        ('jinja2', 'report', lambda: as_html(None)),
        ('sklearn.cluster', 'cluster', lambda: clusters(torch.zeros(2, 2), 0.5, 1)),
    ],
)
def test_what_needs_a_library_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, use: Callable[[], object]
) -> None:
    library = module.split('.')[0]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BenchError, match=rf"^[^\n]+ needs {library}: pip install 'naclip_bench\[{extra}\]'$"):
        use()


def test_a_library_that_lacks_a_part_is_called_too_old(tmp_path, monkeypatch):
    (tmp_path / 'early').mkdir()
    (tmp_path / 'early' / '__init__.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    line = r"^the test needs a newer early, one with early\.later: pip install -U 'naclip_bench\[data\]'$"
    with pytest.raises(BenchError, match=line):
        needed('early.later.part', 'data', 'the test')


def test_library_that_is_there_but_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / 'broken.py').write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    (tmp_path / 'halved.py').write_text('import what_it_needs_itself')
    monkeypatch.syspath_prepend(tmp_path)
    for library, why in (('broken', 'libgomp.so.1: cannot open'), ('halved', "No module named 'what_it_needs_itself'")):
        with pytest.raises(BenchError, match=rf'^the test needs {library}, which is installed .*: {why}'):
            needed(library, 'data', 'the test')


def test_what_is_imported_is_what_is_required():
    """Whatever else is imported, be it in a function, goes through ``needed``."""
    required = requirements() | requirements('mm')
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {(name.split('.')[0], path.name) for name in names}
    foreign = {(name, where) for name, where in found if name not in sys.stdlib_module_names | {'naclip_bench'}}
    # matplotlib is there for its types alone; Triton comes with torch's builds for GPUs, and is done without elsewhere.
    others = {('matplotlib', 'canvas.py'), ('triton', 'norm_kernel.py'), ('triton', 'pamr_kernel.py')}
    assert not {(name, where) for name, where in foreign if not installed_by(name) & required} - others
    assert {('torch', 'weights.py'), ('rich', 'console.py')} < foreign


def test_what_is_needed_is_in_its_extra():
    calls = [
        call
        for path in SOURCES
        for call in re.findall(r"needed\(f?'([\w.]+?)\.?(?:\{\w+\})?', '(\w+)'", path.read_text(encoding='utf-8'))
    ]
    assert {('scipy.io', 'data'), ('cityscapesscripts', 'data'), ('jinja2', 'report')} < set(calls)
    for module, extra in calls:
        assert installed_by(module) & requirements(extra), f'{module} is not in the extra {extra}'


def test_every_module_imports_without_the_extras():
    """mmseg itself imports scipy, so that only what this package imports is looked at."""
    code = """if True:
        import builtins, importlib, pkgutil, sys
        given, optional = builtins.__import__, set(sys.argv[1].split(','))
        def guarded(name, globals=None, locals=None, fromlist=(), level=0):
            ours = ((globals or {}).get('__name__') or '').startswith('naclip_bench')
            if ours and not level and name.split('.')[0] in optional:
                raise ModuleNotFoundError(f"{globals['__name__']} imports {name}", name=name)
            return given(name, globals, locals, fromlist, level)
        builtins.__import__ = guarded
        import naclip_bench
        for module in pkgutil.walk_packages(naclip_bench.__path__, 'naclip_bench.'):
            if not module.name.endswith(('__main__', 'norm_kernel', 'pamr_kernel')):
                importlib.import_module(module.name)
        print(len(sys.modules))"""
    optional = 'scipy,ijson,pycocotools,cityscapesscripts,matplotlib,jinja2,sklearn,selenium,pytest'
    optional += ',rasterio,supervision,fiftyone,onnx,onnxscript,onnxruntime,gradio'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, optional], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
