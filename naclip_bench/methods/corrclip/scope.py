"""Which patches may look at which: regions of a window, merged where they are alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Distance up to which regions are merged (DBSCAN's eps, with one sample a cluster: single linkage).
LINKED = 0.2

#: The first id of merged regions; no map has that many.
MERGED = 1 << 20


def resized(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest ids (N, h, w) of region maps (N, H, W) at another size."""
    # In fp64, where every id has a value of its own.
    return F.interpolate(regions[:, None].double(), size=size, mode='nearest')[:, 0].long()


def merged(regions: Tensor, features: Tensor) -> Tensor:
    """Give regions that are alike one id.

    Args:
        regions: (h, w) ids of one window; the smallest stands for what is in no region.
        features: (h * w, C) of unit length.

    Returns:
        (h, w) ids; the smallest is as it was.
    """
    ids, index = regions.flatten().unique(return_inverse=True)
    if len(ids) <= 2:
        return regions
    means = features.new_zeros(len(ids), features.shape[1]).index_add_(0, index, features)
    clusters = linked(region_distance(means[1:]))
    names = torch.cat([ids[:1], MERGED + clusters.to(ids.device)])
    return names[index].view_as(regions)


def region_distance(means: Tensor) -> Tensor:
    """How much less alike two regions (n, C) are than the two most alike, each with itself among them: (n, n)."""
    means = F.normalize(means, dim=-1)
    alike = means @ means.T
    return alike.max() - alike


def linked(distance: Tensor) -> Tensor:
    """Number the groups (n,) that chains of steps up to :data:`LINKED` hold together, in order of their first."""
    near = (distance <= LINKED).cpu()
    near.fill_diagonal_(True)
    group = torch.arange(len(near))
    while True:
        # The lowest member of all that are near, until nothing moves.
        lowest = torch.where(near, group, len(near)).amin(1)
        if torch.equal(lowest, group):
            return group.unique(return_inverse=True)[1]
        group = lowest


def scope_attention(features: Tensor, regions: Tensor, sharpness: float) -> Tensor:
    """Attention weights (N, h * w, h * w) within regions; each row sums to 1.

    A patch sees those of its region. Patches in no region, those of the smallest id, and all others see each other
    where they are more alike than two patches of the window are on average.

    Args:
        features: (N, h * w, C) of unit length.
        regions: (N, h, w) ids.
        sharpness: factor on the cosines.
    """
    alike = features @ features.transpose(1, 2)
    ids = regions.flatten(1)
    same = ids[:, :, None] == ids[:, None]
    loose = ids == ids.amin(1, keepdim=True)
    either = loose[:, :, None] | loose[:, None]
    allowed = torch.where(either, alike > alike.mean((1, 2), keepdim=True), same)
    # Where a window is uniform, a patch is no more like itself than the mean; it sees itself all the same.
    allowed.diagonal(dim1=1, dim2=2).fill_(True)
    return (alike * sharpness).masked_fill(~allowed, -torch.inf).softmax(-1)
