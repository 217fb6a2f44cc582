"""Several processes for one run: those that torchrun, SLURM or MPI started."""

from __future__ import annotations

import os

import torch
import torch.distributed
from mmengine.dist import init_dist

from ..errors import BenchError


def join_processes(launcher: str) -> None:
    """Join the group of processes that a launcher started; ``none``: this process is alone.

    GPUs talk by NCCL, one a process; CPUs by gloo.

    Raises:
        BenchError: there is no such launcher here.
    """
    if launcher == 'none':
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise BenchError('the launcher pytorch is for torchrun: torchrun --nproc_per_node=2 -m naclip_bench test ...')
    if torch.cuda.is_available():
        init_dist(launcher)
    elif launcher != 'pytorch':
        raise BenchError(f'the launcher {launcher} needs a GPU a process; on CPUs use torchrun and pytorch')
    elif not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
