"""Logits of queries to a class a pixel.

The released code takes a softmax over all queries, the maximum over the synonyms of each class, and the class with the
highest value; where that value is under ``prob_thd`` the pixel is class 0. Maximum and softmax keep the order of the
logits, so the winner is the class of the highest logit, and its probability is 1 / sum(exp(scale * (l - max))): neither
the probabilities nor a classes x queries product are ever made.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .stitch import PixelLogits

#: Label of a pixel whose logits are not finite; never a class, so that it cannot be scored by mistake.
NOT_FINITE = -1


def decide(
    logits: PixelLogits,
    query_class: Tensor,
    multiplicity: Tensor,
    scale: float,
    prob_thd: float | Tensor = 0.0,
    area_thd: float | None = None,
) -> Tensor:
    """Labels (H, W) int64 of one image, or (n, H, W) of several together.

    Args:
        logits: cosine logits of Q distinct queries.
        query_class: (Q,) the class of each query, non-decreasing in its first appearance, so that among equal logits
            the first query belongs to the first class.
        multiplicity: (Q,) how often each query counts in the softmax.
        scale: logit scale before the softmax.
        prob_thd: probability under which (strictly) a pixel becomes class 0; one for all classes, or (C,).
        area_thd: foreground classes that win no more than this share of all foreground pixels are taken out of the
            decision, though not out of the softmax (SCLIP's ``area_thd``). None: off, as it is for several images.
    """
    limited = isinstance(prob_thd, Tensor) or prob_thd > 0

    def compute() -> tuple[Winners, Tensor, Tensor]:
        allowed = allowed_queries(logits, query_class, multiplicity, scale, area_thd)
        if allowed is None and not limited:
            winners = _highest(logits, query_class, multiplicity, scale)
        else:
            winners = _winners(logits, query_class, multiplicity, scale, allowed, limited)
        # The tensors too, as long as their ids stand for them.
        return winners, query_class, multiplicity

    # All thresholds are decided from one map.
    winners, *_ = logits.once(('winners', id(query_class), id(multiplicity), scale, area_thd, limited), compute)
    # A map of one's own, which may be written over.
    return winners.above(prob_thd) if limited else winners.labels.clone()


def allowed_queries(
    logits: PixelLogits, query_class: Tensor, multiplicity: Tensor, scale: float, area_thd: float | None
) -> Tensor | None:
    """Queries (Q,) bool whose classes ``area_thd`` leaves in the decision; None where it is off. See :func:`decide`."""
    if area_thd is None:
        return None
    labels = _highest(logits, query_class, multiplicity, scale).labels
    area = torch.bincount(labels.flatten().clamp(min=0), minlength=int(query_class[-1]) + 1)
    area[0] = 0
    keep = area > area_thd * area.sum()
    keep[0] = True
    return keep[query_class]


class Winners(NamedTuple):
    """The class of the highest logit of each pixel.

    Attributes:
        labels: (H, W) int64, or (n, H, W) of several images; :data:`NOT_FINITE` where logits are not.
        probability: as many, fp32, of that class; None where no threshold asks for it.
    """

    labels: Tensor
    probability: Tensor | None

    def above(self, prob_thd: float | Tensor) -> Tensor:
        """Labels where what is less probable than ``prob_thd``, one or (C,), is class 0."""
        least = prob_thd[self.labels.clamp(min=0)] if isinstance(prob_thd, Tensor) else prob_thd
        return self.labels.masked_fill((self.probability < least) & (self.labels != NOT_FINITE), 0)


def _highest(logits: PixelLogits, query_class: Tensor, multiplicity: Tensor, scale: float) -> Winners:
    """:func:`_winners` where the order of logits is all that counts: of queries that can have the highest."""
    kept = logits.contenders()
    if kept is not None:
        logits, query_class, multiplicity = logits.only(kept), query_class[kept], multiplicity[kept]
    return _winners(logits, query_class, multiplicity, scale, None, limited=False)


def _winners(
    logits: PixelLogits,
    query_class: Tensor,
    multiplicity: Tensor,
    scale: float,
    allowed: Tensor | None,
    limited: bool,
) -> Winners:
    labels = torch.empty(logits.images, *logits.size, dtype=torch.int64, device=logits.device)
    probability = torch.empty_like(labels, dtype=torch.float32) if limited else None
    # Powers of two cost a third of powers of e.
    scale = scale * math.log2(math.e)
    for rows, blocks in logits.regions():
        best = winner = top = total = None
        for queries, block in blocks:
            block = block.unflatten(1, (logits.images, -1))
            seen = slice(queries.start, queries.start + block.shape[2])
            value, index = (block if allowed is None else block.masked_fill(~allowed[seen, None], -torch.inf)).max(2)
            if seen.start:
                index += seen.start
            if best is None:
                best, winner = value, index
            else:
                better = (value > best) | value.isnan()
                best, winner = torch.where(better, value, best), torch.where(better, index, winner)
            if limited:
                block_top = value if allowed is None else block.amax(2)
                # The powers are written over the block: it is not needed again.
                powers = block.sub_(block_top.unsqueeze(2)).mul_(scale).exp2_()
                block_total = torch.matmul(multiplicity[seen], powers)
                if top is None:
                    top, total = block_top, block_total
                else:
                    new_top = torch.maximum(top, block_top)
                    total = total * ((top - new_top) * scale).exp2()
                    total += block_total * ((block_top - new_top) * scale).exp2()
                    top = new_top
        if limited:
            probability[:, rows] = (((best - top) * scale).exp2() / total).transpose(0, 1)
        # Of NaN nothing is less; ``isfinite`` does the same in twice as many steps.
        decided = torch.where(best.abs() < torch.inf, query_class[winner], NOT_FINITE)
        labels[:, rows] = decided.transpose(0, 1)
    which = slice(None) if logits.images > 1 else 0
    return Winners(labels[which], probability[which] if limited else None)
