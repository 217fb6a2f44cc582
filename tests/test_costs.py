"""Costs of methods beside each other."""

from tiny import COMMAND, TinyBench, run_here


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
