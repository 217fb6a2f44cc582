"""Passes over several processes and over Ray: the same numbers, and one line where one of them fails."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from plans import plain_cells, tiny_plan
from tiny import TinyBench

from naclip_bench.errors import BenchError
from naclip_bench.tables.plan import Options, Plan
from naclip_bench.tables.run import OpenPass, in_this_process, run_plan
from naclip_bench.tables.spread import Processes, compute_of, jobs_of
from naclip_bench.tables.store import Store
from naclip_bench.tables.worker import live


@pytest.fixture(scope='module', autouse=True)
def one_thread() -> Iterator[None]:
    """As each of two processes has on two cores, so that sums are added up in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path / 'bench', classes=(0, 3, 15, 18), count=7)


@pytest.fixture
def plan(bench: TinyBench) -> Plan:
    """One pass of three leaves, seven images, four batches."""
    return Plan([], tiny_plan(bench).passes[:1])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'results')


def alone(plan: Plan, folder: Path) -> list[dict]:
    return plain_cells(run_plan(plan, Options(), Store(folder)))


def shares(store: Store) -> list[list[int]]:
    """Of each leaf, how many images each process wrote."""
    folders = sorted(store.folder.glob('*.running'))
    return [sorted(len(path.read_text().splitlines()) - 1 for path in folder.glob('*.jsonl')) for folder in folders]


# ---- who computes what


def test_shares_are_the_open_batches_and_nothing_else(plan, store):
    """All of them settled before any process begins: one that begins late takes nobody's batch."""
    open_pass = OpenPass(plan.passes[0], Options())
    wanted = set(open_pass.keys)
    jobs_of(open_pass, store, wanted, 4)[1].compute(store)  # images 2 and 3
    jobs = jobs_of(open_pass, store, wanted, 2)
    jobs[1].compute(store)
    jobs[0].compute(store)
    assert shares(store) == [[2, 2, 3]] * 3
    assert open_pass.open_batches(open_pass.finished(store, wanted)) == 0
    assert jobs_of(open_pass, store, wanted, 2) == []


def test_no_more_workers_than_batches(plan, store):
    assert len(jobs_of(OpenPass(plan.passes[0], Options()), store, set(), 3)) == 0
    open_pass = OpenPass(plan.passes[0], Options(limit=3))
    assert len(jobs_of(open_pass, store, set(open_pass.keys), 3)) == 2


def test_a_worker_that_would_compute_something_else_says_so(plan, store, monkeypatch):
    open_pass = OpenPass(plan.passes[0], Options())
    (job,) = jobs_of(open_pass, store, set(open_pass.keys), 1)
    monkeypatch.setattr('naclip_bench.evaluation.record.versions', lambda: {'torch': '1.0'})
    with pytest.raises(BenchError, match='other versions'):
        job.compute(store)


def test_workers_are_given_the_text(plan, store, monkeypatch):
    """Two that encode it at once could round it apart."""
    open_pass = OpenPass(plan.passes[0], Options())
    (job,) = jobs_of(open_pass, store, set(open_pass.keys), 1)
    monkeypatch.setattr('naclip_bench.methods.base.text_vectors', lambda *_: pytest.fail('encoded again'))
    job.compute(store)
    assert shares(store) == [[7]] * 3


# ---- processes


def test_processes_give_the_same_bits(plan, store, tmp_path):
    seen = []

    def two_processes(open_pass: OpenPass, store: Store, wanted: set[str]) -> int:
        count = Processes(2)(open_pass, store, wanted)
        seen.extend(shares(store))
        return count

    results = run_plan(plan, Options(), store, two_processes)
    assert plain_cells(results) == alone(plan, tmp_path / 'alone')
    assert {result.record['device']['processes'] for result in results.values()} == {2}
    assert seen == [[3, 4]] * 3


def test_a_process_that_fails_ends_in_its_line(bench, plan, store):
    content = bench.image('p1').read_bytes()
    bench.image('p1').write_bytes(content[:200])
    with pytest.raises(BenchError, match=r'^the image .*p1.jpg is truncated; [^\n]*$'):
        run_plan(plan, Options(limit=2), store, Processes(2))
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_ends_the_run_in_one_line(plan, store):
    def kill_one() -> None:
        while len(multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        multiprocessing.active_children()[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(BenchError, match='ended with code -9; run the same command again: finished images are kept'):
        run_plan(plan, Options(), store, Processes(2))
    killer.join()
    assert not multiprocessing.active_children()
    assert shares(store) == [], 'the other was not waited for'


class Endless:
    """A job that is never done."""

    def compute(self, journals: object) -> None:
        time.sleep(600)


def _ask_and_wait(say: Connection) -> None:
    context = multiprocessing.get_context('spawn')
    worker = context.Process(target=live, args=(pickle.dumps(Endless()), Path(), 1, context.Pipe()[1]))
    worker.start()
    say.send(worker.pid)
    time.sleep(600)


@pytest.mark.skipif(not Path('/proc/self/stat').is_file(), reason='needs /proc to see processes')
def test_workers_end_with_the_process_that_asked():
    context = multiprocessing.get_context('fork')
    said, say = context.Pipe()
    asking = context.Process(target=_ask_and_wait, args=(say,))
    asking.start()
    worker = said.recv()
    assert _alive(worker)
    asking.kill()
    asking.join()
    deadline = time.monotonic() + 60
    while _alive(worker):
        assert time.monotonic() < deadline, 'a worker goes on without the process that holds its claims'
        time.sleep(0.05)


def _alive(process: int) -> bool:
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except OSError:
        return False


def test_each_process_sees_one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert Processes(2).devices == ['0', '1']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,GPU-7')
    assert Processes(2).devices == ['5', 'GPU-7']
    with pytest.raises(BenchError, match='--device-count is 3, but this machine has 2 GPUs'):
        Processes(3)


# ---- what the command line says


def test_compute_of(monkeypatch):
    assert compute_of(None, None) is compute_of(1, None) is in_this_process
    assert len(compute_of(3, None).devices) == 3
    with pytest.raises(BenchError, match='--device-count is 0'):
        compute_of(0, None)
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(BenchError, match=r"pip install 'naclip_bench\[ray\]'"):
        compute_of(None, 'auto')


# ---- Ray


@pytest.fixture(scope='module')
def cluster() -> Iterator[object]:
    ray = pytest.importorskip('ray', reason='Ray is not installed; it is an extra')
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')
    yield ray
    ray.shutdown()


def test_ray_gives_the_same_bits(plan, store, tmp_path, cluster):
    assert plain_cells(run_plan(plan, Options(), store, compute_of(2, 'auto'))) == alone(plan, tmp_path / 'alone')
    assert sorted(path.suffix for path in store.folder.iterdir()) == ['.json'] * 3


def test_a_ray_worker_that_fails_ends_in_its_line(bench, plan, store, cluster):
    content = bench.image('p5').read_bytes()
    bench.image('p5').write_bytes(content[:200])
    with pytest.raises(BenchError, match=r'^the image .*p5.jpg is truncated; [^\n]*$'):
        run_plan(plan, Options(), store, compute_of(2, 'auto'))
    # What the workers had finished is kept.
    assert all(len(of_leaf) == 1 and of_leaf[0] >= 2 for of_leaf in shares(store))


def test_more_workers_than_a_cluster_has(cluster):
    with pytest.raises(BenchError, match='3 workers were asked for, but the cluster has 2 CPUs'):
        compute_of(3, 'auto')
