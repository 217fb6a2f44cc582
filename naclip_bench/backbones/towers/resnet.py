"""CLIP's ResNets: convolutions, and one attention that pools them."""

from __future__ import annotations

from copy import deepcopy

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..blocks import Attention
from .base import Tower


class AttentionPool(Attention):
    """The attention pool: the mean of patches is its first token, and the only one that was trained to ask."""

    def __init__(self, module: AttentionPool2d) -> None:
        super().__init__(module, module.num_heads)

    def normalized(self, tokens: Tensor) -> Tensor:
        return tokens

    def projected(self, normalized: Tensor) -> tuple[Tensor, ...]:
        pool = self.module
        return pool.q_proj(normalized), pool.k_proj(normalized), pool.v_proj(normalized)

    def project(self, joined: Tensor) -> Tensor:
        return self.module.c_proj(joined)

    @property
    def query_weight(self) -> Tensor:
        return self.module.q_proj.weight


def features_of(visual: ModifiedResNet, images: Tensor) -> Tensor:
    """Run the convolutions: (N, width, h, w)."""
    return visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))


class ResNetTower(Tower):
    """open_clip's ``ModifiedResNet``. What it embeds are the features of its last stage, with positions."""

    #: Of the features to the image.
    stride = 32

    def __init__(self, visual: ModifiedResNet) -> None:
        super().__init__(visual)
        side = visual.image_size // self.stride
        self.patch, self.native_grid, self.prefix = self.stride, (side, side), 1
        pool = visual.attnpool
        self.width, self.embed_dim = pool.v_proj.in_features, pool.c_proj.out_features
        self.positions = pool.positional_embedding
        self.blocks = [AttentionPool(pool)]
        self.hidden = 0

    @classmethod
    def fits(cls, visual: nn.Module) -> bool:
        return isinstance(visual, ModifiedResNet) and isinstance(visual.attnpool, AttentionPool2d)

    def embed(self, images: Tensor, positions: Tensor | None) -> Tensor:
        patches = features_of(self.visual, images).flatten(2).transpose(1, 2)
        return torch.cat([patches.mean(1, keepdim=True), patches], dim=1) + positions

    def flops(self, grid: tuple[int, int], depth: int) -> int:
        image = torch.empty(1, 3, *(side * self.patch for side in grid), device='meta')
        with FlopCounterMode(display=False) as counter:
            features_of(deepcopy(self.visual).to('meta', image.dtype), image)
        tokens = grid[0] * grid[1] + 1
        attention = tokens * self.width * (3 * self.width + self.embed_dim) + 2 * tokens * tokens * self.width
        return counter.get_total_flops() + 2 * depth * attention

    def norm(self, tokens: Tensor) -> Tensor:
        return tokens

    def project(self, tokens: Tensor) -> Tensor:
        return tokens
