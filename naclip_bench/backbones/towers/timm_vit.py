"""timm's vision transformers in open_clip: SigLIP, EVA-CLIP, PE-Core, MobileCLIP's ViTs."""

from __future__ import annotations

from copy import deepcopy

import torch
from open_clip.timm_model import TimmModel
from timm.layers import HybridEmbed, PatchEmbed
from timm.layers.attention import Attention as PlainAttention
from timm.layers.attention import AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models import eva, vision_transformer
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import Block
from .base import Tower, patch_products, with_prefix


class TimmBlock(Block):
    """A ``Block`` of timm's vision transformer."""

    def __init__(self, module: nn.Module, rotary: bool) -> None:
        super().__init__(module, module.attn.num_heads)
        self.rotary = rotary

    def normalized(self, tokens: Tensor) -> Tensor:
        return self.module.norm1(tokens)

    def projected(self, normalized: Tensor) -> tuple[Tensor, ...]:
        attention = self.module.attn
        if attention.qkv is None:
            return attention.q_proj(normalized), attention.k_proj(normalized), attention.v_proj(normalized)
        bias = attention.qkv.bias
        if getattr(attention, 'q_bias', None) is not None:
            bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
        return F.linear(normalized, attention.qkv.weight, bias).chunk(3, dim=-1)

    def qkv(self, tokens: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = super().qkv(tokens)
        attention = self.module.attn
        query, key = attention.q_norm(query), attention.k_norm(key)
        if self.rotary:
            if rotation is None:
                raise TypeError('positions are rotary: qkv() needs trunk.rotation')
            half = getattr(attention, 'rotate_half', False)
            query, key = (rotated(part, rotation, half) for part in (query, key))
        return query, key, value

    def project(self, joined: Tensor) -> Tensor:
        return self.attention_scaled(self.module.attn.proj(self.module.attn.norm(joined)))

    def attention_scaled(self, output: Tensor) -> Tensor:
        """What is added to the tokens of the attention's ``output``; see :meth:`scaled`."""
        return self.module.ls1(output)

    @property
    def query_weight(self) -> Tensor:
        attention = self.module.attn
        return attention.q_proj.weight if attention.qkv is None else attention.qkv.weight.chunk(3)[0]

    @property
    def last_layer(self) -> nn.Linear:
        return self.module.mlp.fc2

    def feed_forward(self, tokens: Tensor) -> Tensor:
        return self.module.mlp(self.module.norm2(tokens))

    def scaled(self, output: Tensor) -> Tensor:
        return self.module.ls2(output)


class EvaBlock(TimmBlock):
    """An ``EvaBlock``."""

    def attention_scaled(self, output: Tensor) -> Tensor:
        return output if self.module.gamma_1 is None else self.module.gamma_1 * output

    def scaled(self, output: Tensor) -> Tensor:
        return output if self.module.gamma_2 is None else self.module.gamma_2 * output


class PostNormBlock(TimmBlock):
    """An ``EvaBlockPostNorm``: norms stand behind attention and feed-forward network."""

    def normalized(self, tokens: Tensor) -> Tensor:
        return tokens

    def attention_scaled(self, output: Tensor) -> Tensor:
        return self.module.norm1(output)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        return self.module.mlp(tokens)

    def scaled(self, output: Tensor) -> Tensor:
        return self.module.norm2(output)


#: Blocks of timm, and how each is taken apart.
BLOCKS = {vision_transformer.Block: TimmBlock, eva.EvaBlock: EvaBlock, eva.EvaBlockPostNorm: PostNormBlock}


def rotated(heads: Tensor, rotation: Tensor, half: bool) -> Tensor:
    """Rotate the last of the tokens (N, heads, T, d), as many as ``rotation`` has rows."""
    before = heads.shape[2] - len(rotation)
    parts = heads[:, :, :before], apply_rot_embed_cat(heads[:, :, before:], rotation, half=half)
    return torch.cat(parts, dim=2).to(heads)


class TimmTower(Tower):
    """open_clip's ``TimmModel`` around a ``VisionTransformer`` or an ``Eva``."""

    modules = ('timm',)

    def __init__(self, visual: TimmModel) -> None:
        super().__init__(visual)
        self.trunk = trunk = visual.trunk
        embed = trunk.patch_embed
        self.native_grid = tuple(embed.grid_size)
        self.patch = embed.img_size[0] // embed.grid_size[0]
        self.width, self.prefix = trunk.embed_dim, trunk.num_prefix_tokens
        self.positions = None if trunk.pos_embed is None else trunk.pos_embed[0]
        rope = getattr(trunk, 'rope', None)
        # A copy that stays in fp32 whatever the tower's precision.
        self.rope = None if rope is None else deepcopy(rope)
        self.blocks = [BLOCKS[type(block)](block, rope is not None) for block in trunk.blocks]
        self.hidden = self.blocks[0].last_layer.in_features
        layers = [*trunk.head.modules(), *visual.head.modules()]
        self.embed_dim = next((of.out_features for of in reversed(layers) if isinstance(of, nn.Linear)), self.width)

    @classmethod
    def fits(cls, visual: nn.Module) -> bool:
        trunk = getattr(visual, 'trunk', None)
        return (
            isinstance(visual, TimmModel)
            and type(trunk) in (vision_transformer.VisionTransformer, eva.Eva)
            and type(trunk.patch_embed) in (PatchEmbed, HybridEmbed)
            and trunk.global_pool in ('token', 'map', 'avg')
            and not getattr(trunk, 'rope_mixed', False)
            and all(cls.fits_block(block) for block in trunk.blocks)
        )

    @staticmethod
    def fits_block(block: nn.Module) -> bool:
        """The block is of a kind that :class:`TimmBlock` knows."""
        return (
            type(block) in BLOCKS
            and type(block.attn) in (PlainAttention, AttentionRope, eva.EvaAttention)
            and getattr(block.attn, 'gate', None) is None
            and getattr(block.attn, 'num_kv_groups', 1) == 1
            and hasattr(block.mlp, 'fc2')
        )

    def embed(self, images: Tensor, positions: Tensor | None) -> Tensor:
        trunk = self.trunk
        if isinstance(trunk.patch_embed, PatchEmbed):
            patches = trunk.patch_embed.norm(patch_products(images, trunk.patch_embed.proj))
        else:
            embed = trunk.patch_embed
            patches = embed.proj(embed.backbone(images)).flatten(2).transpose(1, 2)
        prefix = [token[0] for token in (trunk.cls_token, trunk.reg_token) if token is not None]
        return trunk.norm_pre(with_prefix(prefix, patches, positions))

    def rotation(self, grid: tuple[int, int]) -> Tensor | None:
        if self.rope is None:
            return None
        self.rope.update_feat_shape(list(grid))
        return self.rope.get_embed(list(grid)).clone()

    def norm(self, tokens: Tensor) -> Tensor:
        return self.trunk.norm(tokens)

    def project(self, tokens: Tensor) -> Tensor:
        trunk, pool = self.trunk, self.trunk.attn_pool
        if pool is not None:
            # What the pool makes of a token that it looks at alone: its value.
            weight, bias = pool.kv.weight.chunk(2)[1], pool.kv.bias
            tokens = pool.proj(F.linear(tokens, weight, None if bias is None else bias.chunk(2)[1]))
            tokens = tokens + pool.mlp(pool.norm(tokens))
        return self.visual.head(trunk.head(trunk.fc_norm(tokens)))

    def pooled(self, tokens: Tensor) -> Tensor:
        return self.visual.head(self.trunk.forward_head(self.norm(tokens)))
