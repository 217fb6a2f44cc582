"""The small helpers of the tests: DINO's shape at an eighth of its width, random grids, and stored text vectors."""

import torch
from torch.nn import functional as F

#: Arguments of timm's VisionTransformer.
DINO8 = dict(img_size=224, patch_size=8, embed_dim=96, depth=12, num_heads=3)
DINO16 = dict(DINO8, patch_size=16)


def tiny_helper(patch=8, **settings):
    """Settings of a small DINO with random weights."""
    return dict(dict(type='ViT', arch=DINO16 if patch == 16 else DINO8, pretrained=None), **settings)


def with_tiny_helpers(model):
    """Put small helpers in the place of a config's own."""
    for name in ('helper', 'sam', 'regions'):
        if model.get(name):
            model[name] = tiny_helper(16 if 'patch16' in model[name]['arch'] else 8)
    return model


def random_features(channels, height, width, seed=0):
    """(1, C, h, w) smooth noise: a made-up grid of a helper."""
    generator = torch.Generator().manual_seed(5000 + seed + 7 * channels + height * 10007 + width)
    coarse = torch.randn((1, channels, max(2, height // 6), max(2, width // 6)), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode='bicubic', align_corners=False)
    return smooth + 0.3 * torch.randn((1, channels, height, width), generator=generator)


def with_text(model, vectors):
    """Give a method's vocabulary other text vectors."""
    model.backbone.texts[model.vocabulary] = model.text._replace(vectors=vectors)
    return model
