"""The command that reproduces tables, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import TinyBench, run_here

from naclip_bench.bundled import CONFIGS
from naclip_bench.errors import BenchError
from naclip_bench.speed.tables import sharing
from naclip_bench.tables.compare import find_row
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.tables import find_table

COMMAND = CONFIGS.parent / 'tools' / 'reproduce.py'


def command(capfd, bench, *more):
    chosen = ('--datasets', 'voc21', 'voc20', *more)
    arguments = bench.arguments(*chosen, config='naclip/table4', work_dir=bench.folder, without=('--work-dir',))
    return run_here(capfd, arguments, COMMAND)


def test_the_command_runs_a_table_once_and_writes_it(tmp_path, capfd):
    bench, out = TinyBench(tmp_path), tmp_path / 'out'
    compare_rows = ('--compare', 'Vanilla', 'Reduced', '--out', out, '--limit', '3')
    ended = command(capfd, bench, *map(str, compare_rows))
    assert ended.code == 0, ended.stderr
    suffixes = ['md', 'tex', 'csv', 'json', 'html']
    assert [Path(line).name for line in ended.stdout.splitlines()[-5:]] == [f'table.{suffix}' for suffix in suffixes]
    report = json.loads((out / 'table.json').read_text())
    assert {(cell['how'], cell['marks'], cell['images']) for cell in report['cells']} == {('run', 'WSC', 3)}
    assert [cell['dataset'] for cell in report['cells']] == ['voc21', 'voc20'] * 2
    assert all(cell['low'] <= cell['ours'] <= cell['high'] for cell in report['cells'])
    assert report['marks'].keys() == {'W', 'S', 'C'} and len(report['comparisons']) == 2
    page = (out / 'table.html').read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == sum(len(each['images']) for each in report['comparisons'])
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'store').glob('*.npz')}
    assert len(kept) == 4
    again = command(capfd, bench, *map(str, compare_rows))
    assert (
        again.code == 0 and {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'store').glob('*.npz')} == kept
    )
    assert json.loads((out / 'table.json').read_text())['cells'] == report['cells']


def test_the_command_measures_what_runs_cost_together(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    ended = command(capfd, bench, '--cost-beside', 'Reduced', '--limit', '3')
    assert (ended.code, ended.stderr) == (0, '')
    row = next(line for line in ended.stdout.splitlines() if line.startswith('│')).split('│')[1:-1]
    assert [text.strip() for text in row[:3]] == ['voc21, voc20', '4', '3']
    assert row[4].strip() == 'naclip_voc21' and float(row[-1].strip('x ')) > 0.5
    assert not (tmp_path / 'store').exists()


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--compare', 'Vanilla', 'Nothing'], 'no row that is run is called "Nothing"'),
        (['--cost-beside', 'Reducd'], 'no row that is run is called "Reducd"; did you mean "Reduced"'),
        (['--rows', 'Vanilla', '--cost-beside', 'Reduced'], 'no row that is run is called "Reduced"'),
        (['--out', 'there', '--cost-beside', 'Reduced'], '--out does not go with --cost-beside'),
        (['--out', '/proc'], '--out: cannot write into the folder /proc'),
        (['--store', '/proc'], 'the store /proc cannot be written'),
        (['--dry-run', '--cost-beside', 'Reducd'], 'did you mean "Reduced"'),
        (['--out', 'a-file'], '--out: cannot make the folder'),
        (['--rows', 'Vanila'], 'no row holds "Vanila"; did you mean "Vanilla"'),
        (['--subset', 'nowhere.txt'], 'subset: there is no file nowhere.txt'),
        (['--limit', '0'], 'the limit is 0; it must be at least 1'),
    ],
)
def test_a_mistake_ends_in_one_line_before_anything_runs(tmp_path, capfd, monkeypatch, more, message):
    bench = TinyBench(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path('a-file').touch()
    ended = command(capfd, bench, *more)
    assert ended.code == 1 and message in ended.stderr and ended.stderr.count('\n') == 1
    assert not (tmp_path / 'store').exists()


def test_costs_need_the_row_in_every_pass(tmp_path):
    """Found out before anything is measured."""
    bench = TinyBench(tmp_path)
    options = Options(datasets=('voc21',), data_root=str(bench.folder / 'data'), pretrained='none')
    plan = make_plan([find_table('naclip/table2')], options)
    beside = find_row(plan, 'NACLIP backbone=ViT-B/16, post=pamr')
    with pytest.raises(BenchError, match='has not the images, sizes or weights of sclip_voc21'):
        sharing(plan, beside, options)


def test_a_row_of_ones_own_is_run_and_compared_without_a_file(tmp_path, capfd):
    bench, out = TinyBench(tmp_path), tmp_path / 'out'
    row = 'naclip model.sigma=0.5'
    added = ('--add-row', 'naclip', 'model.sigma=0.5', '--compare', 'Reduced', row, '--out', str(out))
    ended = command(capfd, bench, *added)
    assert ended.code == 0, ended.stderr
    report = json.loads((out / 'table.json').read_text())
    own = [cell for cell in report['cells'] if cell['row'] == 'naclip']
    assert [(cell['settings'], cell['dataset']) for cell in own] == [
        ('model.sigma=0.5', 'voc21'),
        ('model.sigma=0.5', 'voc20'),
    ]
    assert all(cell['paper'] is None and cell['low'] <= cell['ours'] <= cell['high'] for cell in own)
    assert [each['rows'][1] for each in report['comparisons']] == [row] * 2


def test_a_dry_run_says_what_it_takes(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    arguments = ['naclip/table1', '--datasets', 'voc21', '--rows', 'NACLIP', '--data-root', bench.folder, '--dry-run']
    ended = run_here(capfd, arguments, COMMAND)
    assert (ended.code, ended.stderr) == (0, '')
    said = ended.stdout.splitlines()[-2:]
    assert said[0].startswith('about ') and 'TFLOP at' in said[0]
    assert said[1] == (
        'memory about 1.1 GB; weights to download unless they are in the cache: ViT-B-16-quickgelu, openai (598 MB)'
    )
