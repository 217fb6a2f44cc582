"""Results on disk: nothing lost, nothing computed twice, nothing used that is not what it says."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from plans import logged, plain_cells, run_logged, tiny_plan
from tiny import TinyBench

from naclip_bench.errors import BenchError
from naclip_bench.evaluation.journal import Journal
from naclip_bench.tables import run
from naclip_bench.tables.plan import Options, Plan
from naclip_bench.tables.run import run_plan
from naclip_bench.tables.store import Result, Store

KEY = 'a' * 64
RECORD = {'metrics': {'mIoU': 12.5}, 'per_class': [{}, {}], 'config': {'test_evaluator': {'type': 'ConfusionMetric'}}}
CELLS = {'p0': np.array([[0, 0, 3], [1, 0, 1]]), 'p1': np.array([[1, 1, 4]])}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'results')


def put(store: Store, key: str = KEY) -> Path:
    store.put(key, Result(RECORD, CELLS))
    return store.path(key)


# ---- entries


def test_a_result_comes_back(store):
    assert store.get(KEY) is None and not store.folder.exists()
    put(store)
    result = store.get(KEY)
    assert result.record == RECORD
    assert {name: cells.tolist() for name, cells in result.cells.items()} == {
        name: cells.tolist() for name, cells in CELLS.items()
    }
    # IoU 3/4 and 4/5.
    assert result.scores().mIoU == pytest.approx((0.75 + 0.8) / 2)


def test_scores_are_those_of_the_leafs_own_metric(store):
    record = {**RECORD, 'config': {'test_evaluator': {'type': 'SmoothedMetric'}}}
    assert Result(record, CELLS).scores().mIoU == pytest.approx((3 / 4.01 + 4 / 5.01) / 2)


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (lambda text: text[: len(text) // 2], 'is damaged'),
        (lambda text: '', 'is damaged'),
        (lambda text: text.replace('"mIoU": 12.5', '"mIoU": 13.5'), 'checksum'),
        (lambda text: text.replace('[1, 1, 4]', '[1, 1, 5]'), 'checksum'),
        (lambda text: text.replace(KEY, 'b' * 64), 'checksum'),
        (lambda text: text.replace('"schema": 1', '"schema": 2'), 'schema 1'),
        (lambda text: '[1, 2]', 'is no result'),
        (lambda text: '\x00' * len(text), 'is damaged'),
    ],
)
def test_a_damaged_entry_is_refused(store, damage, said):
    path = put(store)
    path.write_text(damage(path.read_text()))
    with pytest.raises(BenchError, match=f'{path} .*{said}.*; delete the file'):
        store.get(KEY)


def test_an_entry_under_another_name_is_refused(store):
    put(store).rename(store.path('b' * 64))
    with pytest.raises(BenchError, match='belongs to another run'):
        store.get('b' * 64)


def test_a_journal_in_another_folder_is_refused(store):
    store.journal(KEY, {}, 2).append(CELLS)
    (store.folder / f'{KEY}.running').rename(store.folder / f'{"b" * 64}.running')
    with pytest.raises(BenchError, match=r'images-.*belongs to another run .*; delete the file'):
        store.journal('b' * 64, {}, 2).read()


def test_sealing_leaves_one_file(store):
    with store.claimed([KEY]) as claimed:
        assert claimed == {KEY}
        store.journal(KEY, {}, 2).append(CELLS)
        put(store)
    assert [path.name for path in store.folder.iterdir()] == [f'{KEY}.json']


def test_what_a_kill_after_sealing_leaves_is_taken_away(store):
    put(store)
    store.journal(KEY, {}, 2).append(CELLS)
    assert store.get(KEY) is not None
    assert [path.name for path in store.folder.iterdir()] == [f'{KEY}.json']


# ---- claims


def test_a_claim_keeps_others_out(store):
    other = Store(store.folder)
    with store.claimed([KEY, 'b']) as claimed, other.claimed([KEY, 'b', 'c']) as others:
        assert (claimed, others) == ({KEY, 'b'}, {'c'})
    with other.claimed([KEY]) as others:
        assert others == {KEY}
    assert not list(store.folder.iterdir()), 'claims leave nothing behind'


def test_nothing_to_do_where_another_finished_meanwhile(store, monkeypatch):
    claim = Store._claim

    def slow(store: Store, key: str, claims: object) -> bool:
        put(store)  # by another process, between the look and the claim
        return claim(store, key, claims)

    monkeypatch.setattr(Store, '_claim', slow)
    with store.claimed([KEY]) as claimed:
        assert claimed == set()


def test_a_journal_outlives_a_claim(store):
    with store.claimed([KEY]):
        store.journal(KEY, {}, 2).append(CELLS)
    with store.claimed([KEY]) as claimed:
        assert claimed == {KEY} and set(store.journal(KEY, {}, 2).read()) == set(CELLS)


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / 'results').write_text('no folder')
    store = Store(tmp_path / 'results')
    with pytest.raises(BenchError, match='results'), store.claimed([KEY]):
        pass


# ---- whole plans


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> TinyBench:
    return TinyBench(tmp_path_factory.mktemp('bench'), classes=(0, 3, 15, 18), count=7)


@pytest.fixture(scope='module')
def expected(bench: TinyBench, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    cells = plain_cells(run_plan(tiny_plan(bench), Options(), Store(tmp_path_factory.mktemp('whole'))))
    assert len({json.dumps(of_leaf) for of_leaf in cells}) == 4, 'leaves that are all alike would prove nothing'
    return cells


def computed(log: Path) -> Counter:
    """How often each (leaf, image) was computed and kept."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def started(*arguments: object) -> multiprocessing.Process:
    process = multiprocessing.get_context('spawn').Process(target=run_logged, args=arguments)
    process.start()
    return process


def test_a_second_call_computes_what_is_missing(bench, expected, store, monkeypatch, tmp_path):
    plan, log = tiny_plan(bench), tmp_path / 'log'
    run_plan(plan, Options(), store)
    lost = sorted(store.folder.glob('*.json'))[1]
    lost.unlink()
    monkeypatch.setattr(Journal, 'append', logged(log))
    assert plain_cells(run_plan(plan, Options(), store)) == expected
    assert computed(log) == Counter(f'{lost.stem} {name}' for name in bench.names)


def test_half_a_batch_that_is_finished_is_not_written_again(bench, expected, store, monkeypatch, tmp_path):
    """As another size of batches leaves it."""
    plan, log = tiny_plan(bench), tmp_path / 'log'
    open_pass = run.OpenPass(plan.passes[1], Options())
    (key,) = open_pass.keys
    open_pass.journal(store, key).append({'p2': np.array(expected[3]['p2'])})
    monkeypatch.setattr(Journal, 'append', logged(log))
    assert plain_cells(run_plan(Plan([], plan.passes[1:]), Options(), store)) == expected[3:]
    assert computed(log) == Counter(f'{key} {name}' for name in bench.names if name != 'p2')


@pytest.mark.parametrize('kill_at', [4, 13])
def test_killed_in_the_middle_then_the_same_again(bench, expected, store, monkeypatch, tmp_path, kill_at):
    """In the first pass between two leaves of a batch, and in the second pass between two batches."""
    plan, before, after = tiny_plan(bench), tmp_path / 'before', tmp_path / 'after'
    process = started(plan, store.folder, before, kill_at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(store.folder.glob('*.json'))) == (0 if kill_at < 12 else 3)

    monkeypatch.setattr(Journal, 'append', logged(after))
    assert plain_cells(run_plan(plan, Options(), store)) == expected
    assert sorted(path.suffix for path in store.folder.iterdir()) == ['.json'] * 4
    # What was written is kept; what was not is the batch in flight and what comes behind it.
    assert sum(computed(before).values()) == sum(2 if number % 12 < 9 else 1 for number in range(kill_at))
    assert set((computed(before) + computed(after)).values()) == {1}
    assert sum((computed(before) + computed(after)).values()) == 4 * 7


def test_two_processes_on_one_store_at_once(bench, expected, store, tmp_path):
    plan, logs = tiny_plan(bench), [tmp_path / 'one', tmp_path / 'two']
    ready = multiprocessing.get_context('spawn').Barrier(2)
    processes = [started(plan, store.folder, log, None, ready) for log in logs]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    together = computed(logs[0]) + computed(logs[1])
    assert set(together.values()) == {1} and sum(together.values()) == 4 * 7
    assert plain_cells(run_plan(plan, Options(), store)) == expected
    assert sorted(path.suffix for path in store.folder.iterdir()) == ['.json'] * 4


def test_what_another_process_gives_back_unfinished_is_computed_here(bench, expected, store, monkeypatch, capfd):
    plan = tiny_plan(bench)
    other = Store(store.folder)
    keys = [key for pass_ in plan.passes for key in run.OpenPass(pass_, Options()).keys]
    claim = other.claimed(keys[:1])
    claim.__enter__()
    monkeypatch.setattr(run.time, 'sleep', lambda seconds: claim.__exit__(None, None, None))
    assert plain_cells(run_plan(plan, Options(), store)) == expected
    assert capfd.readouterr().err.count('waiting for another process, which computes voc21, voc20') == 1
