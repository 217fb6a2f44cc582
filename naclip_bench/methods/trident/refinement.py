"""SAM's refinement of Trident's labels: each region of a class is a prompt, and SAM's masks vote for their classes.

At half the image's resolution, with p_c the probabilities of the classes:

1. A pixel whose highest probability is under ``confidence`` belongs to no class. Regions are what hangs together of a
   class (8 neighbors), of 225 pixels or more.
2. SAM is asked for one mask a region, by its box, its most probable pixel, and p_c as a mask: its long side that of
   SAM's mask prompts, padded with zeros, values above ``confidence`` times 0.005, others 0.
3. Masks that SAM takes for no better than ``quality`` (predicted IoU) are dropped: their regions failed.
4. The class of a pixel is that of the highest sigmoid(mask logit) * p_c over masks. The labels stay as they are where
   no mask is (SAM's own threshold, a logit of 0), where a failed region's p_c is higher, and where there are no
   regions, at which the released code fails.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from ...helpers import Prompts
from ...helpers.sam2 import boxes_of

#: Pixels that a region has at least.
SMALLEST = 225

#: Factor on probabilities that are a mask prompt.
SOFTENED = 0.005


class Regions(NamedTuple):
    """What hangs together of a class: the masks (n, h, w) bool of such regions, and their classes (n,)."""

    masks: Tensor
    classes: Tensor


def confident_regions(probabilities: Tensor, confidence: float) -> Regions:
    """Find the regions of probabilities (C, h, w); see steps 1 above."""
    highest, labels = probabilities.max(0)
    labels = labels.masked_fill(highest < confidence, -1).cpu()
    masks, classes = [], []
    for of_class in labels.unique().tolist():
        if of_class < 0:
            continue
        image = (labels == of_class).byte().numpy()
        count, numbered, about, _ = cv2.connectedComponentsWithStats(image, connectivity=8)
        large = [n for n in range(1, count) if about[n, cv2.CC_STAT_AREA] >= SMALLEST]
        masks += [torch.from_numpy(numbered == n) for n in large]
        classes += [of_class] * len(large)
    found = torch.stack(masks) if masks else torch.zeros(0, *labels.shape, dtype=torch.bool)
    return Regions(found.to(highest.device), torch.tensor(classes, dtype=torch.long, device=highest.device))


def prompt_maps(probabilities: Tensor, side: int, confidence: float) -> Tensor:
    """Make mask prompts (n, side, side) of probabilities (n, h, w)."""
    height, width = probabilities.shape[1:]
    size = tuple(max(1, round(part * side / max(height, width))) for part in (height, width))
    maps = F.interpolate(probabilities[:, None], size=size, mode='bilinear', align_corners=False)[:, 0]
    maps = torch.where(maps > confidence, maps * SOFTENED, 0)
    return F.pad(maps, (0, side - size[1], 0, side - size[0]))


def voted(probabilities: Tensor, regions: Regions, logits: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Let masks vote: classes (h, w), and where they are to be taken; steps 3 and 4 above.

    Args:
        logits: (n, h, w) of the regions' masks.
        kept: (n,) bool, masks that are good enough.
    """
    votes = torch.zeros_like(probabilities)
    of_masks = logits[kept].sigmoid() * probabilities[regions.classes[kept]]
    votes.index_reduce_(0, regions.classes[kept], of_masks, 'amax')
    best, winner = votes.max(0)
    failed = (regions.masks[~kept] * probabilities[regions.classes[~kept]]).sum(0)
    return winner, (logits[kept] > 0).any(0) & (failed <= best)


def refined(labels: Tensor, probabilities: Tensor, prompts: Prompts, confidence: float, quality: float) -> Tensor:
    """Refine labels (H, W), given the probabilities (C, h, w) of the same image at another size, and SAM's look at it.

    Args:
        confidence, quality: see above.
    """
    regions = confident_regions(probabilities, confidence)
    if not len(regions.classes):
        return labels
    # Regions do not overlap, and a pixel's own probability is above 0: the most probable one lies inside.
    inside = probabilities[regions.classes] * regions.masks
    peak = inside.flatten(1).argmax(1)
    width = probabilities.shape[2]
    points = torch.stack([peak % width, peak // width], dim=1).float()
    maps = prompt_maps(probabilities[regions.classes], prompts.map_side, confidence)
    logits, scores = prompts.boxed(boxes_of(regions.masks), points, maps, tuple(probabilities.shape[1:]))
    winner, taken = voted(probabilities, regions, logits, scores > quality)
    winner, taken = (
        F.interpolate(part[None, None].double(), size=tuple(labels.shape), mode='nearest')[0, 0].long()
        for part in (winner, taken)
    )
    return torch.where(taken > 0, winner, labels)
