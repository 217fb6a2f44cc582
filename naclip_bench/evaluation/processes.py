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
        BenchError: there is no such launcher here, or more processes than GPUs.
    """
    if launcher == 'none':
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise BenchError('the launcher pytorch is for torchrun: torchrun --nproc_per_node=2 -m naclip_bench test ...')
    gpus, processes = torch.cuda.device_count(), int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
    if launcher == 'pytorch' and 0 < gpus < processes:
        # They would be slower than one: a GPU changes between processes where it could compute.
        raise BenchError(f'{processes} processes for {gpus} GPUs; start one a GPU, torchrun --nproc_per_node={gpus}')
    if gpus:
        init_dist(launcher)
    elif launcher != 'pytorch':
        raise BenchError(f'the launcher {launcher} needs a GPU a process; on CPUs use torchrun and pytorch')
    elif not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
