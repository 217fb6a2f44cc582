"""The small CLIP, the images and the stored outputs of released code that the golden tests compare with."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

DATA = Path(__file__).parent / 'data'

#: An open_clip model config: CLIP's shape at a twelfth of its width.
TINY = dict(
    embed_dim=64,
    quick_gelu=True,
    vision_cfg=dict(image_size=224, layers=12, width=128, head_width=64, patch_size=16),
    text_cfg=dict(context_length=77, vocab_size=49408, width=64, heads=1, layers=2),
)


def random_image(height, width, seed=0):
    """(1, 3, H, W) smooth noise, already normalized."""
    generator = torch.Generator().manual_seed(1000 + seed + height * 10007 + width)
    coarse = torch.randn((1, 3, max(2, height // 32), max(2, width // 32)), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode='bicubic', align_corners=False)
    return smooth + 0.1 * torch.randn((1, 3, height, width), generator=generator)


@cache
def golden(file):
    with np.load(DATA / file) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def largest_difference(a, b):
    return float((a.float() - b.float()).abs().max())
