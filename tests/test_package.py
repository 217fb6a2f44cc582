"""The package as it is handed on: wheel and source archive, what a plain import costs, and what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import naclip_bench
from naclip_bench.bundled import CONFIGS, PACKAGE, SUBSETS

ROOT = CONFIGS.parent

#: Files of other kinds than Python that the package reads.
DATA = (
    'class_names/*.txt',
    'splits/*.txt',
    'pretrained/*',
    'tables/*.csv',
    'tables/*.j2',
    'segment/outputs/*.j2',
    'data/*.txt',
)


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Names in the wheel, and in the wheel made of the source archive."""
    pytest.importorskip('setuptools')
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('out')
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns('__pycache__')
    for folder in (PACKAGE, CONFIGS, SUBSETS):
        shutil.copytree(folder, source / folder.relative_to(ROOT), ignore=ignored)

    def build(what: str, folder: Path) -> Path:
        code = f'from setuptools import build_meta; print(build_meta.build_{what}({str(out)!r}))'
        done = subprocess.run(
            [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return out / done.stdout.splitlines()[-1]

    def names(wheel: Path) -> set[str]:
        with zipfile.ZipFile(wheel) as archive:
            return set(archive.namelist())

    wheel = names(build('wheel', source))
    with tarfile.open(build('sdist', source)) as archive:
        # Python 3.11.3 and older know no filters.
        archive.extractall(out, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))
    (unpacked,) = (path for path in out.iterdir() if path.is_dir())
    return wheel, names(build('wheel', unpacked))


@pytest.mark.parametrize('which', [0, 1], ids=['wheel', 'wheel of the source archive'])
def test_it_holds_all_that_a_checkout_has(built, which):
    files = {f'naclip_bench/{path.relative_to(PACKAGE).as_posix()}' for path in PACKAGE.rglob('*.py')}
    for pattern in DATA:
        found = {f'naclip_bench/{path.relative_to(PACKAGE).as_posix()}' for path in PACKAGE.glob(pattern)}
        assert found, pattern
        files |= found
    configs = [*CONFIGS.rglob('*.py'), CONFIGS / 'expected.json']
    files |= {f'naclip_bench/configs/{path.relative_to(CONFIGS).as_posix()}' for path in configs}
    files |= {f'naclip_bench/subsets/{path.name}' for path in SUBSETS.glob('*.txt')}
    assert files - built[which] == set()


def python(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_api_is_there_without_torch():
    code = (
        'import sys, naclip_bench\n'
        'print(naclip_bench.__version__, "naclip" in naclip_bench.list_methods(),'
        ' "voc21" in naclip_bench.list_datasets(), "torch" in sys.modules)'
    )
    assert python(code).stdout == f'{naclip_bench.__version__} True True False\n'


def test_what_is_not_offered_is_an_attribute_error():
    assert set(naclip_bench.__all__) <= set(dir(naclip_bench))
    with pytest.raises(AttributeError, match='nothing_of_the_kind'):
        _ = naclip_bench.nothing_of_the_kind


def test_importing_the_parts_prints_nothing():
    done = python('import naclip_bench.methods, naclip_bench.evaluation, naclip_bench.datasets')
    assert (done.stdout, done.stderr) == ('', '')


def test_what_else_is_printed_while_mmseg_is_imported_is_kept(tmp_path):
    """Only the one debug line is left out."""
    code = (
        'import sys, types\n'
        'class Said(types.ModuleType): pass\n'
        'import mmseg\n'
        'import importlib.abc, importlib.machinery\n'
        'class Saying(importlib.abc.Loader):\n'
        '    def create_module(self, spec): return None\n'
        '    def exec_module(self, module): print("Could not import OneDL"); print("mind this")\n'
        'class Finder(importlib.abc.MetaPathFinder):\n'
        '    def find_spec(self, name, path, target=None):\n'
        '        if name == "mmseg.datasets": return importlib.machinery.ModuleSpec(name, Saying())\n'
        'sys.meta_path.insert(0, Finder())\n'
        'try: import naclip_bench.datasets\n'
        'except ImportError: pass\n'
    )
    assert python(code).stdout == 'mind this\n'
