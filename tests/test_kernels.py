"""Kernels for GPUs in Triton's interpreter, which needs none; tests/test_gpu.py runs them on one."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: In processes of their own: the interpreter is chosen where Triton is imported.
PAMR = """if True:
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
NORM = """if True:
    import torch
    from torch import nn
    from naclip_bench.backbones.norms import add_and_normalize, kernel, normalize
    torch.manual_seed(0)
    for width in (24, 64, 768):
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2**-8)):
            norm = nn.LayerNorm(width).requires_grad_(False).to(dtype)
            norm.weight.normal_(), norm.bias.normal_()
            tokens, added = (torch.randn(2, 5, width).to(dtype) * 3 + 1 for _ in range(2))
            assert torch.allclose(kernel()(tokens, None, norm), normalize(norm, tokens), rtol=tolerance, atol=tolerance)
            ours, plain = tokens.clone(), tokens.clone()
            of_ours, of_plain = kernel()(ours, added, norm), add_and_normalize(norm, plain, added)
            assert torch.equal(ours, plain) and not torch.equal(ours, tokens)
            assert torch.allclose(of_ours, of_plain, rtol=tolerance, atol=tolerance)
"""


@pytest.mark.numeric
@pytest.mark.parametrize('code', [PAMR, NORM], ids=['pamr', 'norm'])
def test_a_kernel_computes_as_the_plain_way_does(code):
    pytest.importorskip('triton', reason='Triton comes with torch for GPUs')
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'TRITON_INTERPRET': '1'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compiled(name: str, function: str, arguments: dict[str, str], constants: dict[str, object]) -> str:
    """What a kernel becomes for a GPU that is not here."""
    compiler = pytest.importorskip('triton.compiler', reason='Triton comes with torch for GPUs')
    backends = pytest.importorskip('triton.backends.compiler')
    if 'constexprs' not in signature(compiler.ASTSource).parameters:
        pytest.skip('this Triton is asked in another way')
    source = compiler.ASTSource(
        fn=getattr(pytest.importorskip(name), function),
        signature=arguments | dict.fromkeys(constants, 'constexpr'),
        constexprs=constants,
    )
    return compiler.compile(source, target=backends.GPUTarget('cuda', 90, 32)).asm['ptx']


@pytest.mark.parametrize('storage', ['fp32', 'fp16'])
def test_pamr_compiles(storage):
    arguments = dict(maps=f'*{storage}', index='*i32', affinity='*fp32', out=f'*{storage}', pixels='i32', queries='i32')
    constants = dict(neighbors=16, per_pixel=16, at_once=32)
    assert 'ld.global' in compiled('naclip_bench.inference.pamr_kernel', '_average', arguments, constants)


@pytest.mark.parametrize('adds', [True, False])
@pytest.mark.parametrize('kind', ['fp32', 'bf16'])
def test_norm_compiles(kind, adds):
    arguments = dict.fromkeys(('tokens', 'added', 'weight', 'bias', 'out'), f'*{kind}') | dict(
        rows='i32', width='i32', eps='fp32'
    )
    constants = dict(adds=adds, at_once=4, places=1024)
    assert 'ld.global' in compiled('naclip_bench.backbones.norm_kernel', '_add_and_normalize', arguments, constants)
