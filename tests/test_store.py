"""Matrices on disk: nothing lost, nothing computed twice, nothing used that is not what it says."""

from __future__ import annotations

import json
import multiprocessing
import signal
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plans import logged, plain_cells, run_logged, tiny_passes
from processes import LOADED
from tiny import TinyBench

from naclip_bench.errors import BenchError
from naclip_bench.evaluation import run as run_module
from naclip_bench.evaluation.confusion import to_cells
from naclip_bench.evaluation.journal import Finished, Journal, read_journals
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.opened import OpenPass
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store

KEY, OTHER = 'a' * 64, 'b' * 64
ABOUT = {'parts': {'method': {'stride': 16}}, 'classes': 2, 'sessions': [{'date': 'today'}]}
IMAGES = {
    'p0': Finished('d0', np.array([[0, 0, 3], [1, 0, 2**32 - 1]])),
    'p 1/\u00fc': Finished('d1', np.array([[1, 1, 4]])),
    'p2': Finished('d2', np.zeros((0, 3), np.int64)),
}


def plain(images: dict[str, Finished]) -> dict[str, tuple[str, list]]:
    return {name: (image.digest, image.cells.tolist()) for name, image in images.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'results')


def put(store: Store, key: str = KEY) -> Path:
    store.put(key, ABOUT, IMAGES)
    return store.path(key)


# ---- the journal


@given(st.lists(hnp.arrays(np.int64, (3, 3), elements=st.integers(0, 2**62)), max_size=5))
def test_a_journal_reads_back_what_was_written(tmp_path_factory, counted):
    folder = tmp_path_factory.mktemp('journal')
    images = {f'p {index}/\u00fc': Finished(str(index), to_cells(matrix)) for index, matrix in enumerate(counted)}
    journal = Journal(folder)
    for name, image in images.items():
        journal.append({name: image})
    journal.append({})
    assert plain(read_journals(folder)) == plain(images)


def test_a_torn_record_is_dropped_with_what_is_behind_it(tmp_path):
    journal = Journal(tmp_path)
    journal.append({'p0': IMAGES['p0']})
    (path,) = tmp_path.iterdir()
    first = path.stat().st_size
    journal.append(IMAGES)
    content = path.read_bytes()
    for end in range(first, len(content)):
        path.write_bytes(content[:end])
        assert plain(read_journals(tmp_path)) == plain({'p0': IMAGES['p0']})
    # A bit that is another is seen too.
    for place in range(first, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        found = plain(read_journals(tmp_path))
        assert found == plain({'p0': IMAGES['p0']}) or {**found, **plain(IMAGES)}.keys() >= found.keys()


def test_journals_of_all_processes_are_read_together(tmp_path):
    for name, image in IMAGES.items():
        Journal(tmp_path).append({name: image})
    assert len(list(tmp_path.iterdir())) == 3 and plain(read_journals(tmp_path)) == plain(IMAGES)


# ---- entries


def test_a_leaf_comes_back(store):
    assert store.get(KEY) is None and store.digests(KEY) == {} and not store.folder.exists()
    put(store)
    entry = store.get(KEY)
    assert entry.about == {'key': KEY, **ABOUT}
    assert plain(entry.images) == plain(IMAGES) and entry.images['p0'].cells.dtype == np.int64
    assert store.digests(KEY) == {name: image.digest for name, image in IMAGES.items()}


def rewritten(path: Path, change: object) -> None:
    """The file with another ``about``, as somebody would write it who knows the format."""
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(arrays['about'].tobytes())
    change(about)
    arrays['about'] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with path.open('wb') as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), 'is damaged'),
        (lambda path: path.write_bytes(b''), 'is damaged'),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), 'is damaged'),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"p2"', b'"p3"')), 'is damaged'),
        (lambda path: rewritten(path, lambda about: about.update(schema=1)), 'is of another version'),
        (lambda path: rewritten(path, lambda about: about.update(key=OTHER)), 'belongs to another run'),
        (lambda path: rewritten(path, lambda about: about['names'].pop()), 'is damaged'),
        (lambda path: rewritten(path, lambda about: about.pop('parts')), 'is damaged'),
    ],
)
def test_a_damaged_entry_is_refused(store, damage, said):
    path = put(store)
    damage(path)
    with pytest.raises(BenchError, match=f'{path} {said}.*; delete the file'):
        store.get(KEY)


def test_a_flipped_bit_in_the_cells_is_seen(store):
    path = put(store)
    with zipfile.ZipFile(path) as archive:
        at = path.read_bytes().index(archive.read('pixels.npy'))
    content = bytearray(path.read_bytes())
    content[at + 130] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match='is damaged'):
        store.get(KEY)


def test_an_entry_under_another_name_is_refused(store):
    put(store).rename(store.path(OTHER))
    with pytest.raises(BenchError, match='belongs to another run'):
        store.get(OTHER)


def test_putting_leaves_one_file(store):
    with store.claimed([KEY]) as claimed:
        assert claimed == {KEY}
        store.journal(KEY).append(IMAGES)
        put(store)
    assert [path.name for path in store.folder.iterdir()] == [f'{KEY}.npz']


# ---- claims


def test_a_claim_keeps_others_out(store):
    other = Store(store.folder)
    with store.claimed([KEY, 'b']) as claimed, other.claimed([KEY, 'b', 'c']) as others:
        assert (claimed, others) == ({KEY, 'b'}, {'c'})
    with other.claimed([KEY]) as others:
        assert others == {KEY}
    assert not list(store.folder.iterdir()), 'claims leave nothing behind'


def test_a_journal_outlives_a_claim(store):
    with store.claimed([KEY]):
        store.journal(KEY).append(IMAGES)
    with store.claimed([KEY]) as claimed:
        assert claimed == {KEY} and plain(store.unsealed(KEY)) == plain(IMAGES)


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / 'results').write_text('no folder')
    store = Store(tmp_path / 'results')
    with pytest.raises(BenchError, match='results'), store.claimed([KEY]):
        pass


# ---- whole runs


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> TinyBench:
    return TinyBench(tmp_path_factory.mktemp('bench'), classes=(0, 3, 15, 18), count=7)


@pytest.fixture(scope='module')
def expected(bench: TinyBench, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    cells = plain_cells(run(tiny_passes(bench), Selection(), Store(tmp_path_factory.mktemp('whole'))))
    assert len({json.dumps(of_leaf) for of_leaf in cells}) == 4, 'leaves that are all alike would prove nothing'
    return cells


def computed(log: Path) -> Counter:
    """How often each (leaf, image) was computed and kept."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def started(*arguments: object) -> multiprocessing.Process:
    process = LOADED.Process(target=run_logged, args=arguments)
    process.start()
    return process


def test_a_second_call_computes_what_is_missing(bench, expected, store, monkeypatch, tmp_path):
    passes, log = tiny_passes(bench), tmp_path / 'log'
    run(passes, Selection(), store)
    lost = sorted(store.folder.glob('*.npz'))[1]
    lost.unlink()
    monkeypatch.setattr(Journal, 'append', logged(log))
    assert plain_cells(run(passes, Selection(), store)) == expected
    assert computed(log) == Counter(f'{lost.stem} {name}' for name in bench.names)


def test_a_part_is_continued_to_the_whole(bench, expected, store, monkeypatch, tmp_path):
    """The whole batch of a limit that ends within one is computed again, beside the images it belongs to."""
    passes, log = tiny_passes(bench)[1:], tmp_path / 'log'
    (part,) = plain_cells(run(passes, Selection(limit=3), store))
    assert list(part) == bench.names[:3]
    (key,) = OpenPass(passes[0], Selection()).keys
    monkeypatch.setattr(Journal, 'append', logged(log))
    assert plain_cells(run(passes, Selection(), store)) == expected[3:]
    assert computed(log) == Counter(f'{key} {name}' for name in bench.names[2:])
    # And a part of the whole costs nothing.
    assert plain_cells(run(passes, Selection(limit=3), store)) == [{name: expected[3][name] for name in part}]
    assert len(computed(log)) == len(bench.names) - 2


def test_fresh_computes_everything_again(bench, expected, store, monkeypatch, tmp_path):
    passes, log = tiny_passes(bench)[1:], tmp_path / 'log'
    run(passes, Selection(), store)
    monkeypatch.setattr(Journal, 'append', logged(log))
    assert plain_cells(run(passes, Selection(), store, fresh=True)) == expected[3:]
    assert sum(computed(log).values()) == 7


@pytest.mark.parametrize('kill_at', [4, 13])
def test_killed_in_the_middle_then_the_same_again(bench, expected, store, monkeypatch, tmp_path, kill_at):
    """In the first pass between two leaves of a batch, and in the second pass between two batches."""
    passes, before, after = tiny_passes(bench), tmp_path / 'before', tmp_path / 'after'
    process = started(passes, store.folder, before, kill_at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(store.folder.glob('*.npz'))) == (0 if kill_at < 12 else 3)

    monkeypatch.setattr(Journal, 'append', logged(after))
    assert plain_cells(run(passes, Selection(), store)) == expected
    assert sorted(path.suffix for path in store.folder.iterdir()) == ['.npz'] * 4
    # What was written is kept; what was not is the batch in flight and what comes behind it.
    assert sum(computed(before).values()) == sum(2 if number % 12 < 9 else 1 for number in range(kill_at))
    twice = [entry for entry, count in (computed(before) + computed(after)).items() if count > 1]
    assert len(twice) <= 2, 'at most the batch in flight, of the leaf that had written it'
    assert len(computed(before) + computed(after)) == 4 * 7


def test_two_processes_on_one_store_at_once(bench, expected, store, tmp_path):
    passes, logs = tiny_passes(bench), [tmp_path / 'one', tmp_path / 'two']
    ready = LOADED.Barrier(2)
    processes = [started(passes, store.folder, log, None, ready) for log in logs]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    together = computed(logs[0]) + computed(logs[1])
    assert set(together.values()) == {1} and sum(together.values()) == 4 * 7
    assert plain_cells(run(passes, Selection(), store)) == expected
    assert sorted(path.suffix for path in store.folder.iterdir()) == ['.npz'] * 4


def test_what_another_process_gives_back_unfinished_is_computed_here(bench, expected, store, monkeypatch, capfd):
    passes = tiny_passes(bench)
    other = Store(store.folder)
    keys = [key for pass_ in passes for key in OpenPass(pass_, Selection()).keys]
    claim = other.claimed(keys[:1])
    claim.__enter__()
    monkeypatch.setattr(run_module.time, 'sleep', lambda seconds: claim.__exit__(None, None, None))
    results = run(passes, Selection(), store)
    assert sorted(map(json.dumps, plain_cells(results))) == sorted(map(json.dumps, expected))
    assert capfd.readouterr().err.count('waiting for another process, which computes voc21, voc20') == 1
