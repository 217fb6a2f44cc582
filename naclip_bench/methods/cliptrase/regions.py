"""CLIPtrase's patch clustering: from correlations to the regions of a window, and the vote in them.

Patches are clustered by DBSCAN; a cluster's map is the mean of its patches' correlations, drawn four times as fine and
smoothed by a median of 7 x 7; a region is where one cluster's map is the highest, so that the noise that DBSCAN leaves
over is absorbed by its neighbors. Everything is per window and on the CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...inference.decide import NOT_FINITE
from ...optional import needed

#: How much finer than the patches the clusters' maps are drawn, and the side of the median's window there.
FINER, MEDIAN = 4, 7


def clusters(points: Tensor, eps: float, min_samples: int) -> Tensor:
    """Cluster points (T, D) by DBSCAN: (T,) int64 from 0, -1 for noise. The distance is Euclidean."""
    # Not above: it is an extra, and loading it takes two seconds, which every run of every method would wait.
    dbscan = needed('sklearn.cluster', 'cluster', 'CLIPtrase').DBSCAN
    # What is not finite is told by the logits; DBSCAN would stop at it with an error of its own.
    points = points.nan_to_num(0.0, 0.0, 0.0)
    return torch.from_numpy(dbscan(eps=eps, min_samples=min_samples).fit(points.numpy()).labels_)


def local_patches(correlation: Tensor) -> Tensor:
    """Tell the patches (T,) that eq. 7 keeps: on average they resemble the others no more than themselves.

    Args:
        correlation: (T, T).
    """
    return correlation.mean(1) <= correlation.diagonal()


def cluster_maps(clusters: Tensor, correlation: Tensor, grid: tuple[int, int]) -> Tensor:
    """Draw smoothed maps (K, 4 h, 4 w) of the K clusters of one window; K is 0 where all patches are noise.

    Args:
        clusters: (h * w) of the patches, -1 for noise.
        correlation: (h * w, h * w), whose rows are averaged.
        grid: (h, w).
    """
    members = (clusters == torch.arange(int(clusters.max()) + 1)[:, None]).float()
    if not len(members):
        return correlation.new_empty(0, FINER * grid[0], FINER * grid[1])
    means = (members @ correlation / members.sum(1, keepdim=True)).unflatten(1, grid)
    return median_filter(F.interpolate(means[None], scale_factor=FINER, mode='bilinear', align_corners=False)[0])


def median_filter(maps: Tensor) -> Tensor:
    """Take the median of 7 x 7 of each of (K, H, W), mirrored at the borders: scipy's, in a third of its time."""
    margin = MEDIAN // 2
    padded = np.pad(maps.numpy(), ((0, 0), (margin, margin), (margin, margin)), mode='symmetric')
    around = np.lib.stride_tricks.sliding_window_view(padded, (MEDIAN, MEDIAN), (1, 2)).reshape(*maps.shape, -1)
    middle = MEDIAN**2 // 2
    return torch.from_numpy(np.partition(around, middle, axis=-1)[..., middle].copy())


def regions(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Find the cluster (H, W) int64 whose map is the highest, at any size; the first one where they are equal."""
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0].argmax(0)


def patch_regions(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Find the region (h * w) of each patch; without clusters every patch is one of its own."""
    return regions(maps, grid).flatten() if len(maps) else torch.arange(grid[0] * grid[1])


def regional_mean(logits: Tensor, regions: Tensor) -> Tensor:
    """Average logits (N, h * w, Q) over the patches of each region.

    Args:
        regions: (N, h * w) of each window's patches.
    """
    together = (regions[:, :, None] == regions[:, None]).to(logits)
    return together @ logits / together.sum(-1, keepdim=True)


def majority(labels: Tensor, regions: Tensor, classes: int, first_is_last: bool) -> Tensor:
    """Find the most frequent label (H, W) of each pixel's region; of equally frequent ones the first class.

    Args:
        labels: (H, W) classes, or ``NOT_FINITE``, which stays.
        regions: (H, W).
        classes: how many there are.
        first_is_last: class 0 stands behind the others where they are equally frequent.
    """
    cells = regions * classes + labels.clamp(min=0)
    count = int(regions.max()) + 1
    votes = torch.bincount(cells.flatten(), minlength=count * classes).view(count, classes)
    winner = (votes.roll(-1, 1).argmax(1) + 1) % classes if first_is_last else votes.argmax(1)
    return torch.where(labels == NOT_FINITE, labels, winner[regions])
