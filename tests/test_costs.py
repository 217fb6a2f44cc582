"""Costs of methods beside each other."""

import json

import pytest
from tiny import COMMAND, TinyBench, run_here

from naclip_bench.tables.costs import read_costs


def test_costs_are_of_the_same_images(tmp_path, capfd):
    bench = TinyBench(tmp_path, count=3)
    given = bench.arguments(
        '--beside', 'maskclip,naclip', '--limit', '3', config='clip_voc21', without=('--work-dir', '--store')
    )
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert (outcome.code, outcome.stderr) == (0, '')
    rows = [line.split('│')[1:-1] for line in outcome.stdout.splitlines() if line.startswith('│')]
    assert [row[0].strip() for row in rows] == ['clip', 'maskclip', 'naclip']
    assert rows[0][-1].strip() == '1.000x'
    assert all(float(row[1]) > 0 for row in rows)


def test_what_a_precision_does_to_labels_is_told(tmp_path, capfd):
    bench = TinyBench(tmp_path, count=3)
    given = ('--beside', 'naclip', '--limit', '3', '--precision')
    shares = {}
    for precision in ('bf16', 'fp32'):
        arguments = bench.arguments(*given, precision, config='clip_voc20', without=('--work-dir', '--store'))
        outcome = run_here(capfd, arguments, COMMAND.with_name('benchmark.py'))
        assert (outcome.code, outcome.stderr) == (0, '')
        rows = [line.split('│')[1:-1] for line in outcome.stdout.splitlines() if line.startswith('│')]
        shares[precision] = [row[-1].strip() for row in rows]
    assert all(50 < float(share.removesuffix(' %')) < 100 for share in shares['bf16'])
    assert shares['fp32'][0] == '1.000x', 'there is nothing to tell of fp32'


def test_no_images(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    given = bench.arguments(
        '--beside', 'naclip', '--limit', '0', config='clip_voc21', without=('--work-dir', '--store')
    )
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert (outcome.code, outcome.stderr) == (1, 'error: the limit is 0; it must be at least 1\n')


def test_methods_with_other_data_are_refused(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    given = bench.arguments('--beside', 'official/sclip', config='clip_coco_stuff', without=('--work-dir', '--store'))
    given.remove('test_dataloader.dataset.pipeline.1.scale=(2048,48)')
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert outcome.code == 1
    assert outcome.stderr == 'error: the methods have different data; costs side by side need one\n'


def test_costs_are_written_for_tables(tmp_path, capfd):
    bench = TinyBench(tmp_path, count=3)
    out = tmp_path / 'new' / 'costs.json'
    given = bench.arguments(
        '--beside', 'naclip', '--limit', '2', '--out', str(out), config='clip_voc21', without=('--work-dir', '--store')
    )
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert (outcome.code, outcome.stderr, outcome.stdout.splitlines()[-1]) == (0, '', str(out))
    written = json.loads(out.read_text())
    assert (written['about']['dataset'], written['about']['images']) == ('voc21', 2)
    methods = written['methods']
    assert [*methods] == ['clip', 'naclip'] and methods['clip']['beside'] == 1
    for cost in methods.values():
        assert cost['seconds'] == pytest.approx(sum(cost['stages'].values())) and cost['seconds'] > 0
        assert cost['memory'] >= cost['weights'] > 0
    read = read_costs(out)
    assert read['methods']['naclip'] == (methods['naclip']['seconds'], methods['naclip']['memory'])
    assert read['measured'].startswith('Seconds an image and peak memory') and '2 images of voc21' in read['measured']


def test_costs_are_written_of_methods_side_by_side_alone(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    given = bench.arguments('--out', str(tmp_path / 'costs.json'), without=('--work-dir', '--store'))
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert (outcome.code, outcome.stderr) == (1, 'error: --out is of --beside, whose costs a table shows\n')


def test_steps_from_the_released_way_are_timed_on_the_same_images(tmp_path, capfd):
    bench = TinyBench(tmp_path, count=3)
    given = bench.arguments(
        '--waterfall', '--limit', '3', '--rounds', '1', '--precision', 'bf16', without=('--work-dir', '--store')
    )
    outcome = run_here(capfd, given, COMMAND.with_name('benchmark.py'))
    assert (outcome.code, outcome.stderr) == (0, '')
    rows = [list(map(str.strip, line.split('│')[1:-1])) for line in outcome.stdout.splitlines() if line.startswith('│')]
    assert [row[0].split(':')[0] for row in rows][:2] == ['as released', 'windows together'] and 'bf16' in str(rows)
    assert rows[0][2:4] == ['1.00x', '100.0000 %']
    assert int(rows[0][5]) > int(rows[1][5]) > 0
    # Windows one by one and together label alike, but for a pixel between two classes.
    assert float(rows[1][3].split()[0]) > 99.9
