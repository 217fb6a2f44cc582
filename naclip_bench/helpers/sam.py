"""SAM (Kirillov et al., ICCV 2023), its image encoder as timm builds it: features of windows, affinity of images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from mmseg.registry import MODELS
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.clip import PRECISIONS
from ..backbones.colors import NAMED
from ..errors import BenchError
from ..optional import needed
from ..settings import checked
from .base import Affinity, Helper, Look
from .regions import original_of
from .weights import load_weights, timm_weights


@MODELS.register_module()
class SAM(Helper):
    """SAM's image encoder.

    Features (``tokens`` alone) are the neck's, of an image stretched to the encoder's square. Affinity is the attention
    of the last block, of an image whose long side fills the square; what is beside it is black and left out.

    Args:
        arch: timm's name (``samvit_base_patch16``), or arguments of timm's ``VisionTransformerSAM``.
        pretrained: timm's tag (``sa1b``), the path of weights by timm's or the authors' names, or None for random ones.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the whole encoder.
        halves: the left and the right half of an image are seen each for itself (Trident, Cityscapes).
    """

    modules = ('timm',)

    @checked
    def __init__(
        self,
        arch: str | dict = 'samvit_base_patch16',
        pretrained: str | Path | None = 'sa1b',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
        halves: bool = False,
    ) -> None:
        super().__init__()
        path = timm_weights(arch, pretrained)
        self.encoder = _build(arch)
        self.arch = arch if isinstance(arch, str) else 'custom ' + str(sorted(arch.items()))
        called = arch if isinstance(arch, str) else 'the helper'
        loaded = load_weights(self.encoder, path, called, 'sam.', _timm_names, _authors_name)
        self.weights_name = loaded.name if path is None or Path(str(pretrained)).suffix else str(pretrained)
        self.weights_hash, self.random_weights, self.precision = loaded.sha256, loaded.random, precision
        self.halves = halves
        self.encoder.to(PRECISIONS[precision])
        self.patch: int = self.encoder.patch_embed.patch_size[0]
        self.side: int = self.encoder.patch_embed.img_size[0]
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in NAMED['imagenet'])
        self.register_buffer('_mean', mean, persistent=False)
        self.register_buffer('_deviation', deviation, persistent=False)

    @property
    def key(self) -> dict[str, object]:
        return {**super().key, 'precision': self.precision, 'halves': self.halves}

    @classmethod
    def check(cls, settings: dict) -> None:
        timm_weights(settings.get('arch', 'samvit_base_patch16'), settings.get('pretrained', 'sa1b'))

    def look(self, images: Tensor) -> Look:
        images = F.interpolate(images, size=(self.side,) * 2, mode='bilinear', align_corners=False)
        return SAMLook(self._neck(self._before_last(images)))

    def _neck(self, before: Tensor) -> Tensor:
        """The encoder's output (N, C, rows, columns) in fp32, of the last block's input."""
        return self.encoder.neck(self.encoder.blocks[-1](before).permute(0, 3, 1, 2)).float()

    def _before_last(self, images: Tensor) -> Tensor:
        """Tokens (N, 64, 64, C) before the last block, of images (N, 3, side, side) in 0..1; black where they end."""
        encoder = self.encoder
        tokens = encoder.patch_embed(images.to(encoder.pos_embed.dtype)) + encoder.pos_embed
        for block in encoder.blocks[:-1]:
            tokens = block(tokens)
        return tokens

    def of_image(
        self, image: Tensor, size: tuple[int, int], path: str | None = None, original: Tensor | None = None
    ) -> tuple[Affinity, ...]:
        """Affinity of the image, or of its two halves: in its original size, sides rounded up to whole patches.

        The rounding is Trident's code's.
        """
        pixels = original_of(image, path, original).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        parts = halves_of(pixels.shape[1]) if self.halves else [slice(None)]
        return tuple(self._affinity_of_pixels(pixels[:, part], image.device) for part in parts)

    def _affinity_of_pixels(self, pixels: np.ndarray, device: torch.device) -> Affinity:
        height, width = (-(-side // self.patch) * self.patch for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return self.affinity(torch.from_numpy(pixels).permute(2, 0, 1).to(device) / 255)

    @torch.no_grad()
    def affinity(self, image: Tensor) -> Affinity:
        padded, size = padded_square(image, self.side, self._mean, self._deviation)
        grid = tuple(max(1, side // self.patch) for side in size)
        tokens = self._before_last(padded)
        block, (rows, columns) = self.encoder.blocks[-1], tokens.shape[1:3]
        attention, decomposed = block.attn, needed('timm.models.vision_transformer_sam', 'helpers', 'SAM')
        projected = attention.qkv(block.norm1(tokens)).view(rows * columns, 3, attention.num_heads, -1)
        query, key, value = projected.permute(1, 2, 0, 3)
        valid = torch.zeros(rows, columns, dtype=torch.bool, device=image.device)
        valid[: grid[0], : grid[1]] = True
        valid = valid.flatten()

        def weights(head: int) -> Tensor:
            own = query[head][None]
            scores = own[0] @ key[head].T * attention.scale
            if attention.use_rel_pos:
                scores = scores + decomposed.get_decomposed_rel_pos_bias(
                    own, attention.rel_pos_h, attention.rel_pos_w, (rows, columns), (rows, columns)
                ).view_as(scores)
            return scores[valid].float().softmax(-1)[:, valid]

        @torch.no_grad()
        def embedding() -> Tensor:
            return self._neck(tokens)

        return Affinity(grid, value[:, valid].float(), weights, size, embedding)


def halves_of(width: int) -> list[slice]:
    """The left and the right half of so many columns, of one size; the middle one of an odd number is in both."""
    half = -(-width // 2)
    return [slice(0, half), slice(width - half, width)]


def padded_square(image: Tensor, side: int, mean: Tensor, deviation: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """An image (3, H, W) in 0..1 as SAM's own code prepares it: long side ``side``, normalized, padded with zeros.

    Returns:
        (1, 3, side, side), and the part (h, w) of it that is the image.
    """
    height, width = image.shape[1:]
    longest = side / max(height, width)
    size = (int(height * longest + 0.5), int(width * longest + 0.5))
    resized = (as_bytes_resized(image, size)[None] - mean) / deviation
    return F.pad(resized, (0, side - size[1], 0, side - size[0])), size


def as_bytes_resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image (3, H, W) in 0..1 resized as SAM's own code does: bytes, by pillow."""
    pixels = Image.fromarray(image.mul(255).round().byte().permute(1, 2, 0).cpu().numpy())
    pixels = np.asarray(pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1).to(image.device) / 255


class SAMLook(Look):
    """The neck's output."""

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def features(self, kind: str = 'tokens') -> Tensor:
        if kind != 'tokens':
            raise BenchError(f'SAM gives no features "{kind}"; known: tokens')
        return self._tokens


def _build(arch: str | dict) -> nn.Module:
    timm = needed('timm', 'helpers', 'SAM')
    kind = needed('timm.models.vision_transformer_sam', 'helpers', 'SAM').VisionTransformerSAM
    try:
        model = timm.create_model(arch, num_classes=0) if isinstance(arch, str) else kind(num_classes=0, **arch)
    except (TypeError, AssertionError, ValueError) as error:  # timm checks no arguments
        raise BenchError(f'the helper\'s arch "{arch}" is no image encoder of SAM ({error})') from None
    if not isinstance(model, kind) or model.blocks[-1].window_size > 0:
        raise BenchError(f'the helper\'s arch "{arch}" is no image encoder of SAM such as samvit_base_patch16')
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            # The authors', which timm leaves at torch's default.
            module.eps = 1e-6
    return model.eval()


def _authors_name(name: str) -> str:
    return 'image_encoder.' + name.replace('mlp.fc', 'mlp.lin')


def _timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as timm has them; the authors' files hold all of SAM."""
    if 'image_encoder.patch_embed.proj.weight' not in state:
        return state
    start = 'image_encoder.'
    return {
        name.removeprefix(start).replace('mlp.lin', 'mlp.fc'): value
        for name, value in state.items()
        if name.startswith(start)
    }
