"""The same images the plain way, as the released code goes: the yardstick of the benchmark and of the tests.

Window by window, logits upsampled to full size and averaged in a buffer, softmax over all queries, synonyms merged by a
dense classes x queries x height x width product. Nothing here is fast or small, and nothing should be.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..inference.pamr import NEIGHBORS, PAMR
from ..inference.windows import starts


def plain_logits(
    window_logits: Callable[[Tensor], Tensor],
    image: Tensor,
    size: tuple[int, int],
    window: int | None,
    stride: int,
) -> Tensor:
    """Logits (Q, H, W) of one image.

    Args:
        window_logits: from one window (1, 3, h, w) to its patch logits (1, Q, rows, columns).
        image: (3, h, w), normalized.
        size: (H, W) of the original image.
        window, stride: see :class:`TrainingFreeSegmentor`.
    """
    height, width = image.shape[-2:]
    tops = starts(height, window, stride) if window else [0]
    lefts = starts(width, window, stride) if window else [0]
    total = hits = None
    for top in tops:
        for left in lefts:
            rows = slice(top, min(top + (window or height), height))
            columns = slice(left, min(left + (window or width), width))
            crop = image[None, :, rows, columns]
            logits = F.interpolate(window_logits(crop), size=crop.shape[-2:], mode='bilinear', align_corners=False)
            if total is None:
                total = logits.new_zeros(1, logits.shape[1], height, width)
                hits = logits.new_zeros(1, 1, height, width)
            total[..., rows, columns] += logits
            hits[..., rows, columns] += 1
    return F.interpolate(total / hits, size=size, mode='bilinear', align_corners=False)[0]


def plain_pamr(logits: Tensor, image: Tensor, settings: PAMR) -> Tensor:
    """PAMR (Q, H, W) with all neighbors of all queries side by side."""
    image = F.interpolate(image[None], size=logits.shape[-2:], mode='bilinear', align_corners=False)[0]
    around = _neighbors(image, settings)
    center = image[:, None]
    deviation = torch.cat([around, center.expand(-1, len(settings.dilations), -1, -1)], dim=1).std(dim=1, keepdim=True)
    affinity = (-(around - center).abs() / (1e-8 + 0.1 * deviation)).mean(dim=0).softmax(dim=0)
    for _ in range(settings.iterations):
        logits = (_neighbors(logits, settings) * affinity).sum(dim=1)
    return logits


def _neighbors(maps: Tensor, settings: PAMR) -> Tensor:
    height, width = maps.shape[-2:]
    planes = []
    for d in settings.dilations:
        padded = F.pad(maps[None], (d,) * 4, mode='replicate')[0]
        planes += [padded[:, d + dy * d : d + dy * d + height, d + dx * d : d + dx * d + width] for dy, dx in NEIGHBORS]
    return torch.stack(planes, dim=1)


def plain_decide(logits: Tensor, query_class: Tensor, scale: float, prob_thd: float, area_thd: float | None) -> Tensor:
    """Labels (H, W) from logits (Q, H, W) of every word of the class-name file, repeated ones included."""
    probabilities = (logits * scale).softmax(dim=0)
    classes = int(query_class.max()) + 1
    if len(query_class) != classes:
        one_hot = F.one_hot(query_class, classes).T[:, :, None, None]
        probabilities = (probabilities[None] * one_hot).max(dim=1).values
    if area_thd is not None:
        area = F.one_hot(probabilities.argmax(dim=0), classes).sum(dim=(0, 1))[1:]
        keep = torch.cat([area.new_ones(1, dtype=torch.bool), area > area_thd * area.sum()])
        probabilities = probabilities * keep[:, None, None]
    best, labels = probabilities.max(dim=0)
    return labels.masked_fill(best < prob_thd, 0)
