"""Words of one object: groups of class names that mean nearly the same, and the one of each that an image speaks of."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ...optional import needed

#: Patches that a word moves towards.
NEAREST = 2


@lru_cache(maxsize=16)
def word_groups(vectors: Tensor, height: float) -> tuple[Tensor, ...]:
    """Indices of the words of each group: Ward linkage on cosine distances, cut at ``height``.

    Args:
        vectors: (Q, D) of unit length. A vocabulary's are one and the same tensor, by which the groups are kept.
    """
    if len(vectors) == 1:
        return (torch.zeros(1, dtype=torch.long, device=vectors.device),)
    tree = needed('scipy.cluster.hierarchy', 'helpers', 'CASS')
    exact = vectors.double().cpu()
    above = torch.triu_indices(len(exact), len(exact), offset=1)
    distance = (1 - exact @ exact.T)[above[0], above[1]].clamp(min=0)
    groups = torch.from_numpy(tree.fcluster(tree.linkage(distance.numpy(), 'ward'), height, 'distance'))
    return tuple((groups == group).nonzero()[:, 0].to(vectors.device) for group in groups.unique())


def moved_words(vectors: Tensor, groups: tuple[Tensor, ...], pictures: Tensor, patches: Tensor, share: float) -> Tensor:
    """Move in each group the word most like the picture towards the patches most like that word.

    Args:
        vectors: (Q, D) of unit length.
        pictures: (N, D) of unit length, a window's each.
        patches: (N, n, D) of unit length.
        share: of the mean of the patches in what a word becomes.

    Returns:
        (N, Q, D) of unit length.
    """
    like = pictures @ vectors.T
    chosen = torch.stack([group[like[:, group].argmax(1)] for group in groups], dim=1)
    near = (vectors[chosen] @ patches.transpose(1, 2)).topk(min(NEAREST, patches.shape[1]), dim=-1).indices
    windows = torch.arange(len(patches), device=patches.device)[:, None, None]
    moved = F.normalize((1 - share) * vectors[chosen] + share * patches[windows, near].mean(2), dim=-1)
    every = vectors.expand(len(patches), -1, -1).clone()
    return every.scatter_(1, chosen[..., None].expand_as(moved), moved)
