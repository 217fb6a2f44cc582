"""PAMR's kernel for GPUs, in Triton's interpreter, which needs none; tests/test_gpu.py runs it on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: In a process of its own: the interpreter is chosen where Triton is imported.
CODE = """if True:
    import torch
    from naclip_bench.inference import pamr
    from naclip_bench.inference.pamr import PAMR
    size, random = (13, 17), torch.Generator().manual_seed(0)
    near = PAMR(dilations=(1, 3)).neighborhood(torch.rand(3, 20, 25, generator=random), size)
    for queries in (1, 5, 32, 45):
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 2**-10)):
            maps = torch.randn(size[0] * size[1], queries, generator=random).to(dtype)
            ours, plain = (average(maps, near.index, near.affinity) for average in (pamr.kernel(), pamr.average))
            assert ours.dtype == dtype and ours.shape == maps.shape
            assert torch.allclose(ours.float(), plain.float(), rtol=tolerance, atol=tolerance)
            assert not torch.allclose(ours.float(), maps.float(), rtol=0.1, atol=0.1)
"""


@pytest.mark.numeric
def test_kernel_averages_as_the_plain_way_does():
    pytest.importorskip('triton', reason='Triton comes with torch for GPUs')
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'TRITON_INTERPRET': '1'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('storage', ['fp32', 'fp16'])
def test_kernel_compiles_for_a_gpu_that_is_not_here(storage):
    compiler = pytest.importorskip('triton.compiler', reason='Triton comes with torch for GPUs')
    backends = pytest.importorskip('triton.backends.compiler')
    kernel = pytest.importorskip('naclip_bench.inference.pamr_kernel')
    tensors = dict(maps=f'*{storage}', index='*i32', affinity='*fp32', out=f'*{storage}', pixels='i32', queries='i32')
    constants = dict(neighbors=16, per_pixel=kernel.PIXELS, at_once=kernel.QUERIES)
    source = compiler.ASTSource(
        fn=kernel._average, signature=tensors | dict.fromkeys(constants, 'constexpr'), constexprs=constants
    )
    hopper = backends.GPUTarget('cuda', 90, 32)
    assert 'ld.global' in compiler.compile(source, target=hopper).asm['ptx']
