"""The small helpers of the tests: DINO's shape at an eighth of its width, random grids, and stored text vectors."""

import numpy as np
import torch
from mmseg.registry import MODELS
from torch.nn import functional as F

from naclip_bench.helpers import RegionHelper

#: Arguments of timm's VisionTransformer.
DINO8 = dict(img_size=224, patch_size=8, embed_dim=96, depth=12, num_heads=3)
DINO16 = dict(DINO8, patch_size=16)

#: Settings of a SAM of 8 x 8 places.
TINY_SAM = dict(
    type='SAM',
    arch=dict(
        img_size=128,
        embed_dim=32,
        depth=2,
        num_heads=2,
        global_attn_indexes=(1,),
        window_size=3,
        use_rel_pos=True,
        neck_chans=16,
    ),
    pretrained=None,
)

#: Settings of a whole SAM, as transformers builds it, of 8 x 8 places.
TINY_PROMPTED_SAM = dict(
    type='PromptedSAM',
    arch=dict(
        vision_config=dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=128,
            output_channels=16,
            window_size=3,
            global_attn_indexes=[1],
            num_pos_feats=8,
            mlp_dim=64,
        ),
        prompt_encoder_config=dict(hidden_size=16, image_size=128, mask_input_channels=4),
        mask_decoder_config=dict(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16),
    ),
    pretrained=None,
)


def tiny_helper(patch=8, **settings):
    """Settings of a small DINO with random weights."""
    return dict(dict(type='ViT', arch=DINO16 if patch == 16 else DINO8, pretrained=None), **settings)


#: Of as many heads as the tests' CLIPs have.
CASS_HELPER = tiny_helper(arch=dict(DINO8, num_heads=2))


def with_tiny_helpers(model):
    """Put small helpers in the place of a config's own."""
    if model.get('helper'):
        model.helper = tiny_helper(16 if 'patch16' in model.helper.arch else 8)
        if model.type == 'CASS':
            model.helper = CASS_HELPER
    if model.get('sam', {}).get('type') == 'PromptedSAM':
        model.sam = TINY_PROMPTED_SAM
    elif model.get('sam'):
        model.sam = dict(TINY_SAM, halves=model.sam.get('halves', False))
    if model.get('refiner'):
        model.refiner = TINY_PROMPTED_SAM
    if model.get('regions'):
        model.regions = dict(type='DrawnRegions')
    return model


def drawn_regions(height, width, count, seed=0, zero=0.15):
    """(h, w) int64 ids from 1, the nearest of random centers in a bent metric; about ``zero`` of the area is 0."""
    generator = np.random.Generator(np.random.PCG64(9000 + seed + 31 * count + height * 10007 + width))
    y, x = np.mgrid[:height, :width]
    rows, columns = generator.uniform(0, height, count), generator.uniform(0, width, count)
    stretch = generator.uniform(0.6, 1.6, count)
    found = np.argmin([(y - rows[i]) ** 2 * stretch[i] + (x - columns[i]) ** 2 / stretch[i] for i in range(count)], 0)
    found += 1
    if zero:
        radius = np.sqrt(zero * height * width / np.pi / 2)
        for _ in range(2):
            top, left = generator.uniform(0, height), generator.uniform(0, width)
            found[(y - top) ** 2 + (x - left) ** 2 < radius * radius] = 0
    return torch.from_numpy(found)


@MODELS.register_module()
class DrawnRegions(RegionHelper):
    """Region maps without a model: drawn for an image's size, or ``ids`` where they are given."""

    arch, weights_name, weights_hash, random_weights = 'drawn', 'drawn', 'drawn', False
    ids = None

    def __init__(self, count: int = 9) -> None:
        super().__init__()
        self.count, self.asked = count, []

    def of_image(self, image, size, path=None, original=None):
        self.asked.append(size)
        return drawn_regions(*size, self.count) if self.ids is None else self.ids

    def regions(self, image):
        return drawn_regions(*image.shape[1:], self.count)


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
