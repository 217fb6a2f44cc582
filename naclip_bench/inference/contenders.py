"""Queries that can win a pixel: the others need not be refined."""

from __future__ import annotations

import torch
from torch import Tensor


def contenders(logits: Tensor, margin: float) -> Tensor:
    """Find the queries that no other one leads by more than ``margin`` everywhere.

    A mean whose weights are the same for all queries keeps such a lead: so do upsampling, the average over windows,
    resizing and PAMR, and what is led has the highest logit of no pixel.

    Args:
        logits: (Q, n), of the patches of an image.
        margin: by how much rounding may change what one logit is above another.

    Returns:
        (K,) int64, in their order; every query where a logit is not finite.
    """
    found, of_found = [], torch.empty_like(logits)
    # Who leads has the higher mean, and who leads the leader leads, too: those found so far are all there is to ask.
    for query in logits.mean(1).argsort(descending=True).tolist():
        if not ((of_found[: len(found)] - logits[query]).amin(1) > margin).any():
            of_found[len(found)] = logits[query]
            found.append(query)
    return torch.tensor(sorted(found), device=logits.device)
