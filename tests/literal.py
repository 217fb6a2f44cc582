"""Equations of the papers, transcribed number by number in float64: what fast code of the suite is held against."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from naclip_bench.backbones import FrozenCLIP


def rows(tensor: Tensor) -> list[list[float]]:
    """A matrix as lists."""
    return tensor.double().tolist()


def dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: list[float], b: list[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def softmax(numbers: list[float]) -> list[float]:
    highest = max(numbers)
    powers = [math.exp(number - highest) for number in numbers]
    return [power / math.fsum(powers) for power in powers]


def gathered(weights: list[list[float]], values: list[list[float]]) -> list[list[float]]:
    """What every token gathers of the values with its row of weights."""
    return [[dot(row, column) for column in zip(*values, strict=True)] for row in weights]


def projected(clip: FrozenCLIP, tokens: Tensor, block: int = -1) -> dict[str, list[list[list[float]]]]:
    """Queries, keys and values of one window's tokens (T, width), ``['q'][head][token][channel]``."""
    module = clip.blocks[block].module
    seen = torch.nn.functional.layer_norm(
        tokens.double(), tokens.shape[-1:], module.ln_1.weight.double(), module.ln_1.bias.double(), module.ln_1.eps
    )
    parts = (seen @ module.attn.in_proj_weight.double().T + module.attn.in_proj_bias.double()).chunk(3, dim=-1)
    heads = module.attn.num_heads
    return {name: [rows(head) for head in part.chunk(heads, dim=-1)] for name, part in zip('qkv', parts, strict=True)}


def finished(clip: FrozenCLIP, tokens: Tensor, heads: list[list[list[float]]], whole_block: bool) -> Tensor:
    """Output tokens (T, embed_dim) of what the last block's heads gathered, ``heads[head][token][channel]``.

    Args:
        tokens: (T, width) the block's input.
        whole_block: residuals and feed-forward network are kept.
    """
    module, visual = clip.blocks[-1].module, clip.clip.visual
    joined = torch.cat([torch.tensor(head, dtype=torch.float64) for head in heads], dim=-1)
    out = joined @ module.attn.out_proj.weight.double().T + module.attn.out_proj.bias.double()
    if whole_block:
        out = tokens.double() + out
        seen = torch.nn.functional.layer_norm(
            out, out.shape[-1:], module.ln_2.weight.double(), module.ln_2.bias.double(), module.ln_2.eps
        )
        # QuickGELU's constant is in the weights.
        hidden = seen @ module.mlp.c_fc.weight.double().T + module.mlp.c_fc.bias.double()
        hidden = hidden / (1 + (-hidden).exp())
        out = out + hidden @ module.mlp.c_proj.weight.double().T + module.mlp.c_proj.bias.double()
    last = torch.nn.functional.layer_norm(
        out, out.shape[-1:], visual.ln_post.weight.double(), visual.ln_post.bias.double(), visual.ln_post.eps
    )
    return last @ visual.proj.double()
