"""CLIPtrase with SAM (Section 5.3, Table 3): clusters of patches are points, and SAM's masks the regions.

No code was released. The paper says that SAM takes the place of the clusters' maps, that denoising goes before it, and
that points of one cluster are background points of the others; the vote in each region stays. All else is ours:

- SAM is ViT-B in fp32, and sees the square that CLIP sees, its long side resized to 1024 as SAM's own code does.
- A point is the middle of a patch. Of a cluster at most 16 are asked for, and at most 16 of all others: SAM was trained
  on few. They are taken evenly from the patches row by row.
- Patches that DBSCAN leaves as noise are no points; where all are, no label changes.
- SAM gives one mask a cluster (``multimask_output=False``), as many points leave little doubt.
- Where masks overlap, the highest logit wins. What no mask covers keeps its label.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...helpers import Prompts

#: Most points of a cluster, and of all others beside it.
POINTS = 16


def cluster_prompts(clusters: Tensor, patch: tuple[float, float]) -> list[tuple[Tensor, Tensor]]:
    """Points of each cluster, (n, 2), and of the others, (m, 2): x and y in the image's pixels.

    Args:
        clusters: (h, w) from 0, -1 for noise.
        patch: height and width of a patch in pixels.
    """
    middles = (torch.nonzero(clusters >= 0) + 0.5) * torch.tensor(patch)
    middles, labels = middles.flip(-1), clusters[clusters >= 0]
    return [
        (evenly(middles[labels == index]), evenly(middles[labels != index])) for index in range(int(clusters.max()) + 1)
    ]


def evenly(points: Tensor) -> Tensor:
    """At most :data:`POINTS` of (n, 2), as far apart in their order as can be."""
    return points[torch.arange(POINTS) * len(points) // POINTS] if len(points) > POINTS else points


def mask_regions(clusters: Tensor, prompts: Prompts, patch: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Find the cluster (H, W) int64 whose mask each pixel is in, -1 where it is in none."""
    points = cluster_prompts(clusters, patch)
    if not points:
        return torch.full(size, -1)
    highest, index = prompts.masks(points, size).max(0)
    return torch.where(highest > 0, index, -1)
