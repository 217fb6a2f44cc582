"""Small plans over a tiny benchmark, and what a process of its own does with one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from tiny import TinyBench

from naclip_bench.configuration import load_config, register
from naclip_bench.evaluation import run as run_module
from naclip_bench.evaluation.journal import Journal
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import Pass, passes_of
from naclip_bench.evaluation.run import Result, run
from naclip_bench.evaluation.store import Store

#: Two passes: three leaves on images of one size, and one on those of another.
CONFIGS = (('naclip_voc21', 48), ('sclip_voc21', 48), ('naclip_voc20', 48), ('naclip_voc21', 64))


def tiny_leaf(
    bench: TinyBench, name: str = 'naclip_voc21', short_side: int = 48, pretrained: str | Path = 'none', **more: object
) -> Leaf:
    """A leaf of a config; two images a batch."""
    changed = {
        'model.backbone.arch': str(bench.arch),
        'model.templates': 'photo',
        'model.window': 32,
        'model.stride': 16,
        'test_dataloader.dataset.pipeline.1.scale': (2048, short_side),
        'test_dataloader.num_workers': 0,
        'test_dataloader.batch_size': 2,
        **{key.replace('__', '.'): value for key, value in more.items()},
    }
    return Leaf(name, load_config(name, str(bench.folder / 'data'), str(pretrained), None, changed), changed)


def tiny_passes(bench: TinyBench, configs: tuple[tuple[str, int], ...] = CONFIGS) -> list[Pass]:
    """One leaf a config and short side."""
    return passes_of([tiny_leaf(bench, *config) for config in configs])


def plain_cells(results: dict[Leaf, Result]) -> list[dict[str, list]]:
    return [{name: cells.tolist() for name, cells in result.cells.items()} for result in results.values()]


def logged(log: Path, before: Callable[[int], None] = lambda count: None) -> Callable:
    """``Journal.append`` that also writes down what it is given; ``before`` is told how many came before."""
    append, count = Journal.append, 0

    def append_and_log(journal: Journal, images: dict) -> None:
        nonlocal count
        before(count)
        count += 1
        append(journal, images)
        with log.open('a') as file:
            file.writelines(f'{journal._path.parent.stem} {name}\n' for name in images)

    return append_and_log


def run_logged(passes: list[Pass], folder: Path, log: Path, kill_at: int | None = None, ready: object = None) -> None:
    """Run passes in a process of its own, and kill it where it is about to write for the ``kill_at``-th time."""
    register()
    torch.set_num_threads(1)
    run_module.PATIENCE = 0.05
    Journal.append = logged(log, lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == kill_at else None)
    if ready is not None:
        ready.wait()
    run(passes, Selection(), Store(folder))
