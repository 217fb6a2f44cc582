"""Methods and datasets in files of one's own take part everywhere, and a file that is broken breaks itself alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny import TinyBench, run_here

from naclip_bench import configuration, list_datasets, list_methods, methods
from naclip_bench.bundled import CONFIGS, PACKAGE
from naclip_bench.catalog import catalog, filtered
from naclip_bench.configuration import (
    check_pair,
    dataset_bases,
    find_config,
    load_config,
    load_pair,
    method_bases,
    method_config,
    register,
)
from naclip_bench.errors import BenchError
from naclip_bench.plugins import NAMED, plugins, use_plugin

TOOLS = CONFIGS.parent / 'tools'

METHOD = '''
"""A method of one's own (nowhere, eq. 1): the last block's values.

More about it.
"""

from mmseg.registry import MODELS

from naclip_bench.methods.last_block import LastBlockSegmentor


@MODELS.register_module()
class {name}(LastBlockSegmentor):
    def __init__(self, *args, shift=0.0, **settings):
        super().__init__(*args, **settings)
        self.shift = shift

    def attended(self, query, key, value, *_):
        return value + self.shift
'''


@pytest.fixture(autouse=True)
def _no_plugins_but_ours(monkeypatch):
    """What a test names is forgotten behind it, with the classes that it brought."""
    monkeypatch.setenv(NAMED, '')
    known = dict(MODELS.module_dict)
    yield
    for name in set(MODELS.module_dict) - set(known):
        del MODELS.module_dict[name]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return TinyBench(tmp_path)


def write_method(folder: Path, name: str, more: str = '') -> Path:
    path = folder / f'{name.lower()}_file.py'
    path.write_text(METHOD.format(name=name) + more)
    return path


def farm(bench: TinyBench) -> dict:
    """A dataset of one's own over the tiny benchmark's files."""
    data = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=tuple(f'thing {label}' for label in range(21))),
        data_root=str(bench.voc),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
    return dict(vocabulary=dict(class_names='voc21', prob_thd=0.2), test_dataloader=dict(dataset=data))


def tiny(bench: TinyBench) -> list[str]:
    words = bench.arguments()
    return ['--pretrained', 'none', *words[words.index('--cfg-options') :]]


# ---- bundled pairs


def plain_leaves() -> list[str]:
    """Leaf configs that say nothing but their bases."""
    files = {path.stem: path.read_text() for path in CONFIGS.glob('*.py')}
    return sorted(name for name, text in files.items() if text.endswith('\n\nmodel = _base_.vocabulary\n'))


@pytest.mark.parametrize('name', plain_leaves())
def test_a_leaf_file_is_what_its_bases_make(name):
    """So a pair without a file follows the same protocol as one with a file."""
    assert find_config(name) is not None
    assert configuration._paired(*configuration._pairs()[name]).to_dict() == load_config(name).to_dict()


def test_another_method_on_the_data_of_an_own_config(bench):
    (bench.folder / 'classes.txt').write_text('background\ncat\n')
    own = bench.folder / 'own.py'
    own.write_text(
        f"_base_ = ['{CONFIGS}/_base_/methods/naclip.py', '{CONFIGS}/_base_/common.py']\n"
        "dataset = 'mine'\nmodel = dict(class_names='classes.txt', prob_thd=0.3, stride=56)\n"
        "test_dataloader = dict(dataset=dict(type='BaseSegDataset', data_root='there'))\n"
    )
    config = load_pair('sclip', str(own))
    assert (config.model.type, config.model.class_names, config.model.prob_thd) == ('SCLIP', 'classes.txt', 0.3)
    assert 'stride' not in config.model and (config.protocol, config.dataset) == ('own', 'mine')
    assert config.test_dataloader.dataset.data_root == 'there'


# ---- methods


def test_a_method_in_one_file_runs_and_is_listed(bench, capfd):
    path = write_method(bench.folder, 'FileMethod')
    words = bench.arguments('--import', path, config='filemethod_voc21')
    ended = run_here(capfd, words, TOOLS / 'test.py')
    assert ended.code == 0, ended.stderr
    assert bench.result()['protocol'] == 'common'
    pair = ['--method', 'filemethod', '--dataset', 'voc21', *words[1:]]
    pair[pair.index('--work-dir') + 1] = str(bench.folder / 'again')
    pair[pair.index('--store') + 1] = str(bench.folder / 'again' / 'store')
    assert run_here(capfd, pair, TOOLS / 'test.py').code == 0
    assert bench.finished(bench.folder / 'again') == bench.finished()
    listed = run_here(capfd, ['filemethod', '--import', path], TOOLS / 'list.py')
    assert "A method of one's own (nowhere, eq. 1): the last block's values." in ' '.join(
        listed.stdout.replace('│', ' ').split()
    )
    assert 'filemethod' in list_methods()


def test_a_method_in_a_file_is_drawn_looked_at_and_put_into_tables(bench, capfd):
    path = write_method(bench.folder, 'DrawnMethod')
    data = ['--import', path, *tiny(bench)]
    ended = run_here(
        capfd, ['voc21', '--method', 'drawnmethod,sclip', '--limit', 1, '--data-root', bench.folder / 'data', *data],
        TOOLS / 'draw_methods.py',
    )  # fmt: skip
    assert ended.code == 0 and all(Path(line).is_file() for line in ended.stdout.split()), ended.stderr
    ended = run_here(
        capfd, [bench.image('p0'), '--point', '20,20', '--short-side', 48, '--method', 'drawnmethod,sclip', *data],
        TOOLS / 'attention.py',
    )  # fmt: skip
    assert ended.code == 0 and all(Path(line).is_file() for line in ended.stdout.split()), ended.stderr
    table = ['--method', 'drawnmethod,sclip', '--dataset', 'voc21,voc20', '--store', 'store', '--out', 'out']
    ended = run_here(capfd, [*table, '--data-root', bench.folder / 'data', *data], TOOLS / 'reproduce.py')
    assert ended.code == 0, ended.stderr
    cells = json.loads(Path('out/table.json').read_text())['cells']
    assert [(cell['row'], cell['dataset']) for cell in cells] == [
        (row, dataset) for row in ('drawnmethod', 'sclip') for dataset in ('voc21', 'voc20')
    ]
    assert all(0 <= cell['low'] <= cell['ours'] <= cell['high'] for cell in cells)


def test_a_plugin_names_its_methods_and_their_settings(tmp_path):
    more = "METHODS = {'low': dict(type='NamedMethod', shift=-1.0), 'wide': dict(type='NamedMethod', window=448)}"
    use_plugin(str(write_method(tmp_path, 'NamedMethod', more)))
    low, wide = load_config('low_voc21'), load_config('wide_voc21')
    assert (low.model.shift, low.protocol) == (-1.0, 'common')
    assert low.model.backbone.to_dict() == Config.fromfile(CONFIGS / '_base_/methods/naclip.py').model.backbone
    assert wide.protocol == 'own', 'its window is not that of the common protocol'
    assert {'low', 'wide'} <= set(list_methods()) and 'namedmethod' not in list_methods()
    assert method_config('low') == 'low_voc20'


def test_a_name_that_is_taken_is_refused(tmp_path):
    path = write_method(tmp_path, 'SecondNACLIP', "METHODS = {'naclip': dict(type='SecondNACLIP')}")
    use_plugin(str(path))
    with pytest.raises(BenchError, match=f'{path} brings naclip, a name of methods that is taken'):
        list_methods()


def test_processes_started_meanwhile_have_the_plugin(tmp_path):
    """As the workers of a spread run need it; a second process of its own, with the environment alone."""
    use_plugin(str(write_method(tmp_path, 'WorkerMethod')))
    code = (
        'from naclip_bench.configuration import load_config; from mmseg.registry import MODELS\n'
        'print(MODELS.get(load_config("workermethod_voc21").model.type).__name__)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines()[-1] == 'WorkerMethod'


def test_an_installed_package_offers_methods_by_its_entry_point(tmp_path, monkeypatch):
    package = tmp_path / 'grown'
    package.mkdir()
    write_method(package, 'GrownMethod').rename(package / 'inner.py')
    (package / '__init__.py').write_text('from . import inner\n')
    about = tmp_path / 'grown-1.0.dist-info'
    about.mkdir()
    (about / 'METADATA').write_text('Metadata-Version: 2.1\nName: grown\nVersion: 1.0\n')
    (about / 'entry_points.txt').write_text('[naclip_bench.plugins]\nfrom_far = grown\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert load_config('grownmethod_pc60').model.type == 'GrownMethod'
    (plugin,) = (plugin for plugin in plugins() if plugin.name == 'from_far')
    assert plugin.sources == [package / '__init__.py', package / 'inner.py']
    assert ('from_far', 'grownmethod') in catalog()['plugins']
    (row,) = (row for row in catalog()['methods'] if row[0] == 'grownmethod')
    assert row[2].startswith("A method of one's own")
    del sys.modules['grown'], sys.modules['grown.inner']


# ---- datasets


@pytest.mark.parametrize('form', ['dict', 'file'])
def test_a_dataset_of_a_plugin_runs(bench, capfd, form):
    content, name = farm(bench), f'farm_{form}'
    path = bench.folder / f'{name}_plugin.py'
    if form == 'file':
        (bench.folder / 'base.py').write_text(''.join(f'{key} = {value!r}\n' for key, value in content.items()))
    path.write_text(f'DATASETS = {{{name!r}: {content if form == "dict" else "base.py"!r}}}\n')
    # Its data are not below data/, which --data-root would take the place of.
    where = ['--work-dir', bench.work_dir, '--store', bench.work_dir / 'store']
    words = [f'sclip_{name}', '--import', path, *where, *tiny(bench)]
    ended = run_here(capfd, words, TOOLS / 'test.py')
    assert ended.code == 0, ended.stderr
    assert bench.result()['protocol'] == 'own'
    # The same images and masks as the bundled benchmark's, but for the threshold.
    same = [*bench.arguments(config='sclip_voc21', work_dir=bench.folder / 'voc'), 'model.prob_thd=0.2']
    assert run_here(capfd, same, TOOLS / 'test.py').code == 0
    assert bench.finished() == bench.finished(bench.folder / 'voc')
    assert name in list_datasets()
    assert any(row[0] == name and row[2] == str(bench.voc) for row in catalog()['datasets'])
    checked = run_here(capfd, [name, '--import', path, '--quick'], TOOLS / 'check_data.py')
    assert checked.code == 0, checked.stdout + checked.stderr


def test_a_dataset_without_class_names_is_one_line(tmp_path):
    path = tmp_path / 'bare.py'
    path.write_text("DATASETS = {'bare': dict(test_dataloader=dict(dataset=dict(type='BaseSegDataset')))}\n")
    use_plugin(str(path))
    with pytest.raises(BenchError, match=r'the dataset bare has no vocabulary=dict\(class_names=...\)'):
        load_config('naclip_bare')


# ---- what is broken


@pytest.mark.parametrize('mistake', ['import no_such_module', 'def (', 'raise RuntimeError("two\\nlines")'])
def test_a_plugin_that_does_not_import_breaks_itself_alone(tmp_path, mistake):
    path = tmp_path / 'broken_file.py'
    path.write_text(mistake + '\nclass Broken: ...\n')
    use_plugin(str(path))
    assert load_config('naclip_voc21').model.type == 'NACLIP'
    with pytest.raises(BenchError, match=r'there is no config broken_voc21.* cannot be imported: .*Error: ') as raised:
        load_config('broken_voc21')
    assert str(path) in str(raised.value) and '\n' not in str(raised.value)
    with pytest.raises(BenchError, match=r'there is no method broken.*cannot be imported'):
        check_pair('broken', 'voc21')
    assert any(row[0] == str(path) and 'cannot be imported' in row[1] for row in catalog()['plugins'])
    with pytest.raises(BenchError, match=r'nothing matches brokenmethod.*cannot be imported'):
        filtered(catalog(), ['brokenmethod'])


def test_files_of_the_suite_that_do_not_import_break_their_methods_alone(tmp_path):
    """On a copy of the package, in a process of its own."""
    ignored = shutil.ignore_patterns('__pycache__', 'pretrained')
    shutil.copytree(PACKAGE, tmp_path / 'naclip_bench', ignore=ignored)
    shutil.copytree(CONFIGS, tmp_path / 'configs', ignore=ignored)
    mistakes = {'sclip.py': 'import no_such_module\n', 'cliptrase/method.py': 'def (\n'}
    for name, mistake in mistakes.items():
        file = tmp_path / 'naclip_bench' / 'methods' / name
        file.write_text(file.read_text() + mistake)
    code = (
        'from naclip_bench.configuration import load_config\n'
        'from naclip_bench.errors import BenchError\n'
        'from mmseg.registry import MODELS\n'
        'from naclip_bench.catalog import catalog\n'
        'assert MODELS.get(load_config("naclip_voc21").model.type) is not None\n'
        'print(len(catalog()["methods"]))\n'
        'for name in ("sclip_voc21", "cliptrase_voc21"):\n'
        '    try: load_config(name)\n'
        '    except BenchError as error: print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    count, *lines = done.stdout.splitlines()
    assert int(count) == len(method_bases())
    folder = tmp_path / 'naclip_bench' / 'methods'
    assert lines[0].startswith(f'the method SCLIP cannot be used: {folder}/sclip.py cannot be imported: ModuleNot')
    assert lines[1].startswith(f'the method CLIPtrase cannot be used: {folder}/cliptrase cannot be imported: SyntaxErr')
    assert len(lines) == 2


def test_every_file_of_the_suite_imports():
    register()
    assert methods.BROKEN == {}
    assert all(isinstance(base, Path) for base in (*method_bases().values(), *dataset_bases().values()))


def test_the_method_of_the_guide_runs(bench, capfd):
    """As docs/adding_a_method.md prints it."""
    lines = (CONFIGS.parent / 'docs' / 'adding_a_method.md').read_text('utf-8').split('## Outside of the package')[1]
    code = lines.split('`my_method.py`:\n')[1].split('`--import')[0]
    Path('my_method.py').write_text(textwrap.dedent(code))
    words = bench.arguments('--import', 'my_method.py', '--limit', '1', config='mymethod_voc21')
    ended = run_here(capfd, words, TOOLS / 'test.py')
    assert ended.code == 0, ended.stderr
