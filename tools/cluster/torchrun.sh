#!/usr/bin/env bash
# Spread a command over machines that are reached by hand: run this on each of them, with the same words.
#
#     NODES=2 FIRST=node0 bash tools/cluster/torchrun.sh reproduce naclip/table1 --out work_dirs/naclip1
#
# NODES: how many machines (1). FIRST: name or address of one of them, where all meet (localhost). PORT: there (29400).
# PROCESSES: on each machine; one a GPU, or without GPUs 1. All machines see data, weights and store at the same paths.
set -euo pipefail

gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
processes=${PROCESSES:-$((gpus > 0 ? gpus : 1))}
# Processes on CPUs that each take all threads would wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((($(nproc) + processes - 1) / processes))}

exec python -m torch.distributed.run \
    --nnodes="${NODES:-1}" --nproc_per_node="$processes" \
    --rdzv_id="${RUN:-naclip_bench}" --rdzv_backend=c10d --rdzv_endpoint="${FIRST:-localhost}:${PORT:-29400}" \
    -m naclip_bench "$@" --launcher pytorch
