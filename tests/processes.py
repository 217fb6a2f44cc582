"""Processes that have the suite loaded: a fork takes milliseconds where an interpreter takes ten seconds of a core."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tiny import COMMAND, Outcome

#: Forks of one process that has imported this and does nothing else.
LOADED = multiprocessing.get_context('forkserver')
LOADED.set_forkserver_preload(['naclip_bench.methods', 'naclip_bench.datasets', 'naclip_bench.evaluation.run'])


def run_spread(arguments: Sequence[str], count: int, folder: Path, command: Path = COMMAND) -> Outcome:
    """Run the command in ``count`` processes that find each other as torchrun's do.

    Args:
        folder: where each process writes what it says.
    """
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    for rank in range(count):
        place = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count, LOCAL_WORLD_SIZE=count)
        environment = {**os.environ, **place, 'MASTER_ADDR': 'localhost', 'MASTER_PORT': port}
        told = [str(folder / f'{name}{rank}') for name in ('out', 'err')]
        processes.append(LOADED.Process(target=_run, args=(command, arguments, environment, told)))
        processes[-1].start()
    for process in processes:
        process.join()
    out, err = (''.join((folder / f'{name}{rank}').read_text() for rank in range(count)) for name in ('out', 'err'))
    return Outcome(max(abs(process.exitcode) for process in processes), out, err)


def _run(command: Path, arguments: Sequence[str], environment: Mapping[str, object], told: Sequence[str]) -> None:
    os.environ.update({key: str(value) for key, value in environment.items()})
    for stream, path in zip((1, 2), told, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, 'w', buffering=1) for stream in (1, 2))
    torch.set_num_threads(1)
    sys.argv = [str(command), *arguments]
    runpy.run_path(str(command), run_name='__main__')
