"""Probabilities of classes, for who asks for them: what :mod:`.decide` decides by without ever making it."""

from __future__ import annotations

import torch
from torch import Tensor

from .pamr import RefinedLogits
from .stitch import PixelLogits


@torch.no_grad()
def class_probabilities(
    logits: PixelLogits | RefinedLogits,
    query_class: Tensor,
    multiplicity: Tensor,
    scale: float,
    out: Tensor,
) -> None:
    """Write the softmax over all queries, the maximum over each class's synonyms, into ``out``.

    Nothing larger than ``out`` and a few planes of one image is made. Classes with synonyms do not sum to 1.

    Args:
        logits, query_class, multiplicity, scale: see :func:`naclip_bench.inference.decide.decide`.
        out: (C, H, W) fp32, on any device, of a file if need be.
    """
    for rows, blocks in logits.regions():
        best = top = total = None
        for queries, block in blocks:
            block = block.transpose(0, 1)
            if best is None:
                best = block.new_full((len(out), *block.shape[1:]), -torch.inf)
                top, total = block.new_full(block.shape[1:], -torch.inf), block.new_zeros(block.shape[1:])
            for index, of_class in zip(range(len(block)), query_class[queries].tolist(), strict=True):
                torch.maximum(best[of_class], block[index], out=best[of_class])
            new_top = torch.maximum(top, block.amax(0))
            total = total * ((top - new_top) * scale).exp()
            total += torch.einsum('q,qhw->hw', multiplicity[queries], ((block - new_top) * scale).exp())
            top = new_top
        out[:, rows] = best.sub_(top).mul_(scale).exp_().div_(total).to(out.device)
