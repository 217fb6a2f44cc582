"""Plain vision transformers trained without labels: DINO, DINOv2, DINOv3 and MAE, built by timm."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.clip import PRECISIONS
from ..backbones.colors import NAMED
from ..backbones.positions import interpolate_positions
from ..errors import BenchError, did_you_mean
from ..optional import needed
from ..settings import checked
from .base import Helper, Look
from .weights import load_weights, timm_weights


@MODELS.register_module()
class ViT(Helper):
    """A vision transformer of timm's as a helper: features of its patches.

    An image is normalized with ImageNet's colors. Where its sides are no multiples of a patch it is resized
    (bilinear) to the nearest that are, so that the patches still span what CLIP sees.

    Args:
        arch: timm's name without a tag (``vit_base_patch8_224``, ``vit_base_patch14_reg4_dinov2``,
            ``vit_base_patch16_dinov3``, ``vit_base_patch16_224``), or arguments of timm's ``VisionTransformer``.
        pretrained: timm's tag (``dino``, ``lvd142m``, ``lvd1689m``, ``mae``), the path of a state dict by timm's or the
            authors' names, or None for random weights.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the whole model.
        positions: how the position embedding is interpolated, as the authors of the weights do: ``dino`` (DINO, and
            DINOv2 without registers), ``antialias`` (DINOv2 with registers), ``bicubic`` (MAE); DINOv3 has none. See
            :func:`interpolate_positions`.

    Attributes:
        patch: side of a patch in pixels.
        heads: of the last block.
    """

    modules = ('timm',)

    @checked
    def __init__(
        self,
        arch: str | dict = 'vit_base_patch8_224',
        pretrained: str | Path | None = 'dino',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
        positions: Literal['dino', 'antialias', 'bicubic'] = 'dino',
    ) -> None:
        super().__init__()
        path = timm_weights(arch, pretrained)
        self.vit = _build(arch)
        self.arch = arch if isinstance(arch, str) else 'custom ' + str(sorted(arch.items()))
        loaded = load_weights(self.vit, path, self._called, 'dino.', self._timm_names)
        self.weights_name = loaded.name if path is None or Path(str(pretrained)).suffix else str(pretrained)
        self.weights_hash, self.random_weights = loaded.sha256, loaded.random
        self.precision, self.positions = precision, positions
        self.patch: int = self.vit.patch_embed.patch_size[0]
        self.heads: int = self.vit.blocks[-1].attn.num_heads
        # A copy in fp32, so that interpolation does not start from rounded values.
        trained = None if self.vit.pos_embed is None else self.vit.pos_embed.detach().clone()[0]
        self.register_buffer('_trained_positions', trained, persistent=False)
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in NAMED['imagenet'])
        self.register_buffer('_mean', mean, persistent=False)
        self.register_buffer('_deviation', deviation, persistent=False)
        self.vit.to(PRECISIONS[precision])
        self._positions = lru_cache(maxsize=64)(self._positions_of)

    @property
    def _called(self) -> str:
        return self.arch if len(self.arch) < 60 else 'the helper'

    @property
    def key(self) -> dict[str, object]:
        return {**super().key, 'precision': self.precision, 'positions': self.positions}

    @classmethod
    def check(cls, settings: dict) -> None:
        timm_weights(settings.get('arch', 'vit_base_patch8_224'), settings.get('pretrained', 'dino'))

    @property
    def dtype(self) -> torch.dtype:
        return self.vit.patch_embed.proj.weight.dtype

    def _timm_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names as timm has them; DINOv2's authors have others. Positions of another grid are not resized."""
        if 'mask_token' not in state:
            return state
        convert = needed('timm.models.vision_transformer', 'helpers', 'the helper').checkpoint_filter_fn
        native = state['pos_embed'].shape[1] - 1
        rows, columns = self.vit.patch_embed.grid_size
        if native != rows * columns:
            raise BenchError(
                f'pretrained: the weights have positions of {native} patches, {self._called} of {rows} x {columns}; '
                'set arch to the model of that size'
            )
        return convert(dict(state), self.vit)

    def _positions_of(self, grid: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Positions (T, C) of all tokens that have one: of those before the patches, if any, and of the patches."""
        before = len(self._trained_positions) - self.vit.patch_embed.num_patches
        # One row for what stands before the patches, which is left as it is.
        patches = F.pad(self._trained_positions[before:], (0, 0, 1, 0))
        patches = interpolate_positions(patches, self.vit.patch_embed.grid_size, grid, self.positions)[1:]
        return torch.cat([self._trained_positions[:before], patches]).to(device, dtype)

    def look(self, images: Tensor) -> Look:
        patch = self.patch
        rows, columns = grid = tuple(max(1, round(side / patch)) for side in images.shape[-2:])
        size = (rows * patch, columns * patch)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode='bilinear', align_corners=False)
        images = ((images - self._mean) / self._deviation).to(self.dtype)
        # A convolution whose stride is its kernel is a matrix product; written as one it is never TF32.
        embed = self.vit.patch_embed
        patches = images.reshape(len(images), 3, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(len(images), rows * columns, -1)
        tokens = embed.norm(F.linear(patches, embed.proj.weight.flatten(1), embed.proj.bias))
        tokens = self.vit.norm_pre(self._with_positions(tokens, grid))
        rope = getattr(self.vit, 'rope', None)
        also = {} if rope is None else {'rope': rope.get_embed(shape=grid)}
        for block in self.vit.blocks[:-1]:
            tokens = block(tokens, **also)
        return ViTLook(self.vit, tokens, grid, also)

    def _with_positions(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        positions = None
        if self._trained_positions is not None:
            positions = self._positions(grid, self.dtype, tokens.device)
            if len(positions) == tokens.shape[1]:
                tokens, positions = tokens + positions, None
        before = [part for part in (self.vit.cls_token, self.vit.reg_token) if part is not None]
        tokens = torch.cat([*(part.expand(len(tokens), -1, -1) for part in before), tokens], dim=1)
        return tokens if positions is None else tokens + positions


class ViTLook(Look):
    """Tokens (N, T, C) before the last block; the block is run once, and only for the kinds that are asked for."""

    def __init__(self, vit: nn.Module, tokens: Tensor, grid: tuple[int, int], also: dict) -> None:
        self._vit, self._tokens, self._grid, self._also = vit, tokens, grid, also
        self._known: dict[str, Tensor] = {}

    def features(self, kind: str = 'tokens') -> Tensor:
        if kind not in self._known:
            self._known.update(self._computed(kind))
        return self._known[kind]

    def _computed(self, kind: str) -> dict[str, Tensor]:
        block = self._vit.blocks[-1]
        if kind == 'tokens':
            return {kind: self._patches(self._vit.norm(block(self._tokens, **self._also)))}
        if kind not in ('q', 'k', 'v'):
            raise BenchError(f'a helper gives no features "{kind}"{did_you_mean(kind, ("tokens", "q", "k", "v"))}')
        attention = block.attn
        bias = attention.qkv.bias
        if getattr(attention, 'q_bias', None) is not None:
            bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
        projected = F.linear(block.norm1(self._tokens), attention.qkv.weight, bias)
        return {name: self._patches(part) for name, part in zip('qkv', projected.chunk(3, dim=-1), strict=True)}

    def _patches(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, self._vit.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, self._grid).float()


def _build(arch: str | dict) -> nn.Module:
    timm = needed('timm', 'helpers', 'the helper')
    transformers = needed('timm.models.vision_transformer', 'helpers', 'the helper')
    eva = needed('timm.models.eva', 'helpers', 'the helper').Eva
    try:
        if isinstance(arch, str):
            model = timm.create_model(arch, num_classes=0, dynamic_img_size=True)
        else:
            model = transformers.VisionTransformer(num_classes=0, dynamic_img_size=True, weight_init='skip', **arch)
    except (TypeError, AssertionError, ValueError) as error:  # timm checks no arguments
        raise BenchError(
            f'the helper\'s arch "{arch}" is no plain vision transformer such as vit_base_patch8_224 ({error})'
        ) from None
    plain = isinstance(model, transformers.VisionTransformer | eva) and not getattr(model, 'rope_mixed', False)
    if not plain or getattr(getattr(model.blocks[-1], 'attn', None), 'qkv', None) is None:
        raise BenchError(f'the helper\'s arch "{arch}" is no plain vision transformer such as vit_base_patch8_224')
    return model
