"""open_clip's own vision transformer: OpenAI's and most others; CLIPA, which pools the mean of patches."""

from __future__ import annotations

from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from ..blocks import ResidualBlock, fold_quick_gelu
from .base import Tower, patch_products, with_prefix


def plain_blocks(transformer: nn.Module) -> bool:
    """Tell whether all blocks are of the kind that :class:`ResidualBlock` knows."""
    return all(type(block) is ResidualAttentionBlock for block in getattr(transformer, 'resblocks', [None]))


def blocks_of(transformer: nn.Module) -> list[ResidualBlock]:
    """Take the blocks of an open_clip transformer apart, folding QuickGELU into their weights."""
    quick = [isinstance(block.mlp.gelu, QuickGELU) for block in transformer.resblocks]
    for block, fold in zip(transformer.resblocks, quick, strict=True):
        if fold:
            fold_quick_gelu(block)
    return [ResidualBlock(block, silu) for block, silu in zip(transformer.resblocks, quick, strict=True)]


class ViTTower(Tower):
    """open_clip's ``VisionTransformer``; its blocks are changed (:func:`fold_quick_gelu`)."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__(visual)
        self.patch, self.native_grid = visual.patch_size[0], tuple(visual.grid_size)
        self.width, self.embed_dim, self.prefix = visual.conv1.out_channels, visual.output_dim, 1
        self.positions = visual.positional_embedding
        self.blocks = blocks_of(visual.transformer)
        self.hidden = self.blocks[0].last_layer.in_features

    @classmethod
    def fits(cls, visual: nn.Module) -> bool:
        return (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and visual.pool_type in ('tok', 'avg')
            and plain_blocks(visual.transformer)
        )

    def embed(self, images: Tensor, positions: Tensor | None) -> Tensor:
        patches = patch_products(images, self.visual.conv1)
        return self.visual.ln_pre(with_prefix([self.visual.class_embedding[None]], patches, positions))

    def norm(self, tokens: Tensor) -> Tensor:
        return self.visual.ln_post(tokens)

    def project(self, tokens: Tensor) -> Tensor:
        return tokens @ self.visual.proj

    def pooled(self, tokens: Tensor) -> Tensor:
        if self.visual.pool_type == 'tok':
            return super().pooled(tokens)
        # The library's order of norm and mean is a setting of its own.
        pooled, _ = self.visual._pool(tokens)
        return self.project(pooled)
