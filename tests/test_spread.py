"""Runs over several processes that torchrun starts: the same bits, and one line where one of them fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import run_spread
from tiny import TinyBench, run_here, run_process

from naclip_bench.bundled import CONFIGS
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.processes import join_processes
from naclip_bench.evaluation.store import Store

TOOLS = CONFIGS.parent / 'tools'


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path / 'bench', classes=(0, 3, 15, 18), count=7)


def table(bench: TinyBench, name: str, *more: str) -> list[str]:
    """Arguments of a table whose results go to a store of their own."""
    chosen = ('--datasets', 'voc21', 'voc20', '--out', str(bench.folder / name / 'out'), *more)
    work_dir = bench.folder / name
    return bench.arguments(*chosen, config='naclip/table4', work_dir=work_dir, without=('--work-dir',))


def matrices(bench: TinyBench, name: str) -> dict[str, dict]:
    store = Store(bench.folder / name / 'store')
    entries = {path.stem: store.get(path.stem) for path in store.folder.glob('*.npz')}
    return {key: {image: cells.tolist() for image, cells in entry.cells.items()} for key, entry in entries.items()}


def test_tables_are_the_same_bits_whatever_the_spread(bench, capfd):
    """Seven images in batches of two, over one, two and three processes."""
    outcomes = {1: run_here(capfd, table(bench, 'over1'), TOOLS / 'reproduce.py')}
    for count in (2, 3):
        arguments = table(bench, f'over{count}', '--launcher', 'pytorch')
        outcomes[count] = run_spread(arguments, count, bench.folder / f'over{count}', TOOLS / 'reproduce.py')
    for count, outcome in outcomes.items():
        assert outcome.code == 0, outcome.stderr
        assert outcome.stdout.count('naclip/table4') == 1, 'only the first process prints'
        cells = json.loads((bench.folder / f'over{count}' / 'out' / 'table.json').read_text())['cells']
        assert len(cells) == 4 and all(cell['ours'] is not None for cell in cells)
    alone = matrices(bench, 'over1')
    assert len(alone) == 4 and all(len(of_leaf) == 7 for of_leaf in alone.values())
    assert matrices(bench, 'over2') == alone == matrices(bench, 'over3')
    store = Store(bench.folder / 'over3' / 'store')
    (last,) = {json.dumps(store.get(key).about['sessions'][-1]['device']['processes']) for key in alone}
    assert last == '3' and not list(store.folder.glob('*.running'))


def test_the_script_for_slurm_starts_the_processes_of_every_machine(bench, monkeypatch):
    """SLURM's own commands are stand-ins: one machine, here."""
    stubs = bench.folder / 'bin'
    stubs.mkdir()
    for name, line in {'scontrol': 'echo localhost', 'srun': 'exec "$@"'}.items():
        stub = stubs / name
        stub.write_text(f'#!/usr/bin/env bash\n{line}\n')
        stub.chmod(0o755)
    paths = (stubs, Path(sys.executable).parent, os.environ['PATH'])
    job = {'SLURM_JOB_NODELIST': 'here', 'SLURM_NNODES': '1', 'SLURM_JOB_ID': str(os.getpid())}
    environment = {**os.environ, **job, 'PATH': os.pathsep.join(map(str, paths)), 'PROCESSES': '2'}
    script, words = TOOLS / 'cluster/slurm.sbatch', ['test', *bench.arguments()]
    monkeypatch.chdir(TOOLS.parent)
    done = subprocess.run(['bash', script, *words], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert bench.result()['device']['processes'] == 2


def test_a_process_that_fails_says_why_and_the_run_goes_on_later(bench, capfd):
    content = bench.image('p5').read_bytes()
    bench.image('p5').write_bytes(content[:200])
    torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    arguments = table(bench, 'spread', '--launcher', 'pytorch')
    outcome = run_process(arguments, torchrun, TOOLS / 'reproduce.py', OMP_NUM_THREADS=1)
    assert outcome.code != 0 and 'p5.jpg is truncated' in outcome.stderr
    bench.image('p5').write_bytes(content)
    assert run_spread(arguments, 2, bench.folder / 'spread', TOOLS / 'reproduce.py').code == 0
    assert run_here(capfd, table(bench, 'alone'), TOOLS / 'reproduce.py').code == 0
    assert matrices(bench, 'spread').keys() == matrices(bench, 'alone').keys()


@pytest.mark.parametrize(
    ('launcher', 'said'), [('pytorch', 'is for torchrun'), ('slurm', 'needs a GPU a process'), ('mpi', 'needs a GPU')]
)
def test_a_launcher_that_started_nothing(launcher, said, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    join_processes('none')
    with pytest.raises(BenchError, match=said):
        join_processes(launcher)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '6')
    with pytest.raises(BenchError, match=r'6 processes for 2 GPUs; .*--nproc_per_node=2'):
        join_processes('pytorch')
