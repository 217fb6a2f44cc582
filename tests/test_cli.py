"""The console command: its words, its help, and that the files of ``tools/`` are the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from tiny import Outcome, TinyBench, run_here

from naclip_bench import __version__, cli
from naclip_bench.backbones.families import FAMILIES
from naclip_bench.bundled import CONFIGS
from naclip_bench.catalog import catalog
from naclip_bench.configuration import config_label, find_config, load_config, parse_settings
from naclip_bench.errors import BenchError

TOOLS = CONFIGS.parent / 'tools'

#: Files of ``tools/`` that are a command of the package.
TOOL_OF = {
    **{
        command: command
        for command in (
            'test',
            'reproduce',
            'sweep',
            'regress',
            'list',
            'figure',
            'attention',
            'learn',
            'templates',
            'benchmark',
            'config',
        )
    },
    'segment': 'segment',
    'demo': 'demo',
    'sweep': 'sweep',
    'regions': 'regions',
    **{'data prepare': 'prepare_data', 'data check': 'check_data', 'data subset': 'make_subset'},
    **{'draw methods': 'draw_methods', 'draw materials': 'draw_materials'},
}


@pytest.fixture
def command(capfd, monkeypatch):
    """``naclip-bench`` in this process."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, 'argv', ['naclip-bench', *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Outcome(ended.value.code, *capfd.readouterr())

    return run


def test_help_is_a_line_for_each_command(command):
    ended = command('--help')
    lines = ended.stdout.splitlines()
    assert ended.code == 0 and max(map(len, lines)) <= 80
    assert [line[2:17].strip() for line in lines[2:]] == [*cli.COMMANDS]
    assert all(len(line) > 30 for line in lines[2:])
    assert command().stdout == ended.stdout
    assert command('--version').stdout == f'{__version__}\n'


def test_help_of_a_group_has_its_commands_alone(command):
    lines = command('data').stdout.splitlines()[2:]
    assert [line.split()[:2] for line in lines] == [['data', 'prepare'], ['data', 'check'], ['data', 'subset']]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['tset'], 'there is no command tset; did you mean "test"'),
        (['data', 'chekc'], 'there is no command data chekc; did you mean "data check"'),
        (['draw', '--limit', '3'], 'there is no command draw --limit'),
        (['test'], 'name a config, or give --method and --dataset'),
        (['test', 'naclip_voc21', '--method', 'sclip'], 'name a config, or give --method and --dataset'),
        (['test', '--method', 'naclp', '--dataset', 'voc21'], 'there is no method naclp; did you mean "naclip"'),
        (['test', '--method', 'naclip', '--dataset', 'voc12'], 'there is no dataset voc12; did you mean "voc21"'),
        (['test', 'naclip_voc21', '--import', 'nowhere.py'], 'there is no file nowhere.py to import'),
        (['draw', 'methods', 'my_config.py'], 'there is no dataset my_config.py'),
        (['reproduce'], 'name a table, or give --method and --dataset'),
        (['reproduce', '--method', 'naclip'], '--method and --dataset go together'),
        (['reproduce', '--method', 'naclip', '--dataset', 'voc21,voc12'], 'there is no dataset voc12'),
        (['regress', '--precision', 'bf16'], '--precision goes with --record'),
    ],
)
def test_a_mistake_is_one_line(command, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    ended = command(*words)
    assert (ended.code, ended.stdout) == (1, '')
    assert ended.stderr.startswith(f'error: {message}') and ended.stderr.count('\n') == 1


@pytest.mark.parametrize('words', cli.COMMANDS)
def test_a_tool_is_its_command(command, capfd, words):
    # argparse breaks lines by the length of the program's name; the rest is the same.
    of_tool = run_here(capfd, ['--help'], TOOLS / f'{TOOL_OF[words]}.py')
    of_command = command(*words.split(), '--help')
    assert (of_tool.code, of_command.code) == (0, 0)
    assert of_tool.stdout.partition('\n\n')[2] == of_command.stdout.partition('\n\n')[2] != ''
    assert of_command.stdout.startswith(f'usage: naclip-bench {words} ')


def test_no_command_imports_torch_for_its_help_or_list():
    code = (
        'import sys\nfrom naclip_bench import cli\n'
        'for command in cli.COMMANDS:\n'
        '    try: cli.call(command, ["--help"])\n'
        '    except SystemExit: pass\n'
        'cli.call("list", ["naclip"])\n'
        'print([name for name in ("torch", "mmseg", "open_clip") if name in sys.modules])'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=CONFIGS.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == '[]'


def test_list_has_the_weights_that_open_clip_has(command, monkeypatch):
    ended = command('list', 'weights', 'l-14', 'openai')
    assert ended.stdout.count('openai') == 1 and 'ViT-L-14-quickgelu' in ended.stdout
    whole = catalog()['weights']
    monkeypatch.delitem(sys.modules, 'open_clip')
    assert catalog()['weights'] == whole and 'open_clip' not in sys.modules


def test_list_of_backbones_is_the_matrix(command):
    ended = command('list', 'backbones')
    (row,) = (line for line in ended.stdout.splitlines() if line.split()[:1] == ['maskclip'])
    assert row.count('✓') == len(FAMILIES)
    for text in (*(family.title for family in FAMILIES.values()), 'ViTamin', 'CoCa', 'a [CLS] token'):
        assert text in ended.stdout


def test_a_flat_config_is_the_one_that_runs(command, tmp_path):
    options = ('--data-root', '/there', '--pretrained', 'none', '--cfg-options', 'model.stride=56')
    ended = command('config', 'official/naclip_voc21', *options)
    flat = tmp_path / 'flat.py'
    flat.write_text(ended.stdout)
    asked = load_config('official/naclip_voc21', '/there', 'none', None, {'model.stride': 56})
    assert '_base_' not in ended.stdout
    assert Config.fromfile(flat).to_dict() == asked.to_dict()


def test_methods_are_drawn_on_the_data_of_an_own_config(command, tmp_path, monkeypatch):
    bench = TinyBench(tmp_path)
    monkeypatch.chdir(tmp_path)
    classes = tmp_path / 'classes.txt'
    classes.write_text('\n'.join(f'thing {label}' for label in range(21)))
    own = Path('my_config.py')
    own.write_text(f"""
_base_ = ['{CONFIGS}/_base_/methods/naclip.py', '{CONFIGS}/_base_/common.py']
dataset = 'mine'
model = dict(class_names='classes.txt', prob_thd=0.2, backbone=dict(arch='{bench.arch}', pretrained=None))
test_dataloader = dict(dataset=dict(
    type='BaseSegDataset', metainfo=dict(classes={tuple(f'c{i}' for i in range(21))}), data_root='{bench.voc}',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass')))
""")
    tiny = [word for word in bench.arguments()[bench.arguments().index('--cfg-options') :]]
    ended = command('draw', 'methods', own, '--method', 'sclip,clip', '--limit', '2', '--pretrained', 'none', *tiny)
    assert ended.code == 0, ended.stderr
    assert [Path(line) for line in ended.stdout.splitlines()] == [
        Path(f'work_dirs/figures/sheet.{kind}') for kind in ('png', 'svg')
    ]
    assert all(Path(line).stat().st_size > 1000 for line in ended.stdout.splitlines())


def test_a_name_of_the_suite_is_no_file_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('naclip_voc21', 'naclip_voc21.py'):
        Path(name).write_text('model = 1')
    assert find_config('naclip_voc21') == CONFIGS / 'naclip_voc21.py'
    assert find_config('naclip_voc21.py') == Path('naclip_voc21.py')
    assert find_config('./naclip_voc21') == Path('naclip_voc21')
    assert config_label('official/naclip_voc21') == 'official/naclip_voc21'
    assert config_label('./naclip_voc21.py') == 'naclip_voc21'


WORD = st.text('abcxyz', min_size=1, max_size=6)
KEY = st.lists(WORD, min_size=1, max_size=3).map('.'.join)


@given(st.dictionaries(KEY, st.one_of(st.integers(), st.booleans(), st.none(), WORD), max_size=5))
def test_settings_are_read_as_they_were_written(settings):
    assert parse_settings(f'{key}={value}' for key, value in settings.items()) == settings


@pytest.mark.parametrize('text', ['model.stride', 'model.refine.dilations=(8,16'])
def test_settings_that_cannot_be_read(text):
    with pytest.raises(BenchError, match='is not KEY=VALUE, or a bracket in it is not closed'):
        parse_settings([text])
