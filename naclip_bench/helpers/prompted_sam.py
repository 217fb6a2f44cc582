"""SAM (Kirillov et al., ICCV 2023) asked by points, built by transformers: masks of an image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones.clip import PRECISIONS
from ..backbones.colors import NAMED
from ..backbones.weights import check_finite, weights_hash
from ..optional import needed
from ..settings import checked
from .base import Helper
from .hub import find_model, read_model
from .sam import padded_square
from .weights import load_weights, weights_file

#: What a prompt's point is: of the object, or not of it.
OBJECT, OTHER = 1, 0

#: Boxes that go through the decoder together.
TOGETHER = 16

#: The prompt encoder's position embedding, which is the image's own.
TIED = 'prompt_encoder.shared_embedding.positional_embedding'


@MODELS.register_module()
class PromptedSAM(Helper):
    """SAM, of whose masks a method asks for by points (:meth:`of_image`).

    Args:
        arch: arguments of transformers' ``SamConfig`` (none: ViT-B) for random weights and those of a file; a name or a
            folder comes with its own.
        pretrained: a name on the Hugging Face hub, a folder that transformers saved, the path of a file of weights by
            transformers' or the authors' names (``sam_vit_b_01ec64.pth``), or None for random ones.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the whole model.
    """

    modules = ('transformers',)

    @checked
    def __init__(
        self,
        arch: dict | None = None,
        pretrained: str | Path | None = 'facebook/sam-vit-base',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
    ) -> None:
        super().__init__()
        transformers = needed('transformers', 'helpers', 'SAM')
        if pretrained is None or _is_file(pretrained):
            path = None if pretrained is None else weights_file(str(pretrained), 'SAM', None, '')
            self.sam = transformers.SamModel(transformers.SamConfig(**(arch or {}))).eval()
            self._tie()
            loaded = load_weights(self.sam, path, 'SAM', 'sam.', transformers_names)
            self.weights_name, self.weights_hash = loaded.name, loaded.sha256
        else:
            self.sam = read_model('SamModel', find_model(pretrained, 'SAM'), 'SAM')
            state = {name: value.float().contiguous() for name, value in self.sam.named_parameters()}
            self.weights_name, self.weights_hash = Path(str(pretrained)).name, weights_hash(state)
            check_finite(state, self.weights_name)
        self._tie()
        self.arch, self.random_weights, self.precision = 'sam', pretrained is None, precision
        self.sam.to(PRECISIONS[precision])
        self.side: int = self.sam.config.vision_config.image_size
        self.width: int = self.sam.config.vision_config.hidden_size
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in NAMED['imagenet'])
        self.register_buffer('_mean', mean, persistent=False)
        self.register_buffer('_deviation', deviation, persistent=False)

    def _tie(self) -> None:
        self.sam.prompt_encoder.shared_embedding = self.sam.shared_image_embedding

    @property
    def key(self) -> dict[str, object]:
        return {**super().key, 'precision': self.precision}

    @classmethod
    def check(cls, settings: Mapping[str, object]) -> None:
        needed('transformers', 'helpers', 'SAM')
        pretrained = settings.get('pretrained', 'facebook/sam-vit-base')
        if pretrained is None:
            return
        if _is_file(pretrained):
            weights_file(str(pretrained), 'SAM', None, '')
        else:
            find_model(pretrained, 'SAM')

    @torch.no_grad()
    def of_image(
        self, image: Tensor, size: tuple[int, int], path: str | None = None, original: Tensor | None = None
    ) -> Prompts:
        """What SAM knows of an image as methods have it, not of its original, to be asked for masks."""
        padded, inner = padded_square(image, self.side, self._mean, self._deviation)
        return Prompts(self, self.sam.get_image_embeddings(padded.to(self.sam.dtype)), tuple(image.shape[1:]), inner)


class Prompts:
    """An image that SAM has seen: (H, W) of it, and the part of SAM's square that it fills."""

    def __init__(self, helper: PromptedSAM, seen: Tensor, size: tuple[int, int], inner: tuple[int, int]) -> None:
        self._helper, self._seen, self.size, self._inner = helper, seen, size, inner

    @torch.no_grad()
    def masks(self, prompts: Sequence[tuple[Tensor, Tensor]], size: tuple[int, int]) -> Tensor:
        """Logits (K, H, W) in fp32 of one mask a prompt, above 0 where the object is; SAM's one, not the best of three.

        Args:
            prompts: of each mask points (n, 2) of the object, and (m, 2) not of it: x and y in the image's pixels.
            size: (H, W) of the masks.
        """
        # One after the other: a point more that stands for none, as batches want, would change a mask.
        return torch.cat([self._mask(*prompt, size) for prompt in prompts])

    @property
    def map_side(self) -> int:
        """Pixels along a side of a prompt that is a mask."""
        return 4 * self._seen.shape[-1]

    @torch.no_grad()
    def boxed(self, boxes: Tensor, points: Tensor, maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Logits (K, H, W) in fp32 of one mask a box, and SAM's own estimate (K,) of its IoU.

        Args:
            boxes: (K, 4) left, top, right, bottom, in the image's pixels.
            points: (K, 2) x and y of one of each object.
            maps: (K, side, side) logits of SAM's square, its side :attr:`map_side`.
            size: (H, W) of the masks.
        """
        scale = boxes.new_tensor([self._inner[1] / self.size[1], self._inner[0] / self.size[0]])
        asked = zip(*(of.split(TOGETHER) for of in (boxes * scale.repeat(2), points * scale, maps)), strict=True)
        logits, scores = zip(*(self._boxed(*of_some, size) for of_some in asked), strict=True)
        return torch.cat(logits), torch.cat(scores)

    def _boxed(self, boxes: Tensor, points: Tensor, maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        dtype = self._seen.dtype
        found = self._helper.sam(
            image_embeddings=self._seen.expand(len(boxes), -1, -1, -1),
            input_points=points.to(dtype)[:, None, None],
            input_labels=torch.full((len(boxes), 1, 1), OBJECT, dtype=torch.int32, device=boxes.device),
            input_boxes=boxes.to(dtype)[:, None],
            input_masks=maps.to(dtype)[:, None],
            multimask_output=False,
        )
        return self._at(found.pred_masks[:, 0].float(), size), found.iou_scores[:, 0, 0].float()

    def _at(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (K, H, W) of the image at a size, of SAM's square at its own (K, 1, h, w)."""
        logits = F.interpolate(logits, size=(self._helper.side,) * 2, mode='bilinear', align_corners=False)
        logits = logits[..., : self._inner[0], : self._inner[1]]
        return F.interpolate(logits, size=size, mode='bilinear', align_corners=False)[:, 0]

    def _mask(self, own: Tensor, others: Tensor, size: tuple[int, int]) -> Tensor:
        # SAM's sides are rounded each for itself.
        scale = own.new_tensor([self._inner[1] / self.size[1], self._inner[0] / self.size[0]])
        signs = torch.tensor([OBJECT] * len(own) + [OTHER] * len(others), dtype=torch.int32)
        found = self._helper.sam(
            image_embeddings=self._seen,
            input_points=(torch.cat([own, others]) * scale).to(self._seen.device)[None, None],
            input_labels=signs.to(self._seen.device)[None, None],
            multimask_output=False,
        )
        return self._at(found.pred_masks[0].float(), size)


def _is_file(pretrained: str | Path) -> bool:
    place = Path(pretrained).expanduser()
    return place.is_file() or place.suffix in ('.pth', '.pt', '.bin', '.safetensors')


#: The authors' names, and transformers' in their place; in order.
RENAMED = (
    (r'^image_encoder\.', 'vision_encoder.'),
    (r'^vision_encoder\.blocks\.', 'vision_encoder.layers.'),
    (r'^vision_encoder\.patch_embed\.proj\.', 'vision_encoder.patch_embed.projection.'),
    (r'\.neck\.0\.', '.neck.conv1.'),
    (r'\.neck\.1\.', '.neck.layer_norm1.'),
    (r'\.neck\.2\.', '.neck.conv2.'),
    (r'\.neck\.3\.', '.neck.layer_norm2.'),
    (r'\.norm(\d|_final_attn)\.', r'.layer_norm\1.'),
    (r'\.output_upscaling\.0\.', '.upscale_conv1.'),
    (r'\.output_upscaling\.1\.', '.upscale_layer_norm.'),
    (r'\.output_upscaling\.3\.', '.upscale_conv2.'),
    (r'(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.0\.', r'\1.proj_in.'),
    (r'(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.1\.', r'\1.layers.0.'),
    (r'(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.2\.', r'\1.proj_out.'),
    (r'\.mask_downscaling\.0\.', '.mask_embed.conv1.'),
    (r'\.mask_downscaling\.1\.', '.mask_embed.layer_norm1.'),
    (r'\.mask_downscaling\.3\.', '.mask_embed.conv2.'),
    (r'\.mask_downscaling\.4\.', '.mask_embed.layer_norm2.'),
    (r'\.mask_downscaling\.6\.', '.mask_embed.conv3.'),
    (r'\.point_embeddings\.', '.point_embed.'),
    (r'^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$', 'shared_image_embedding.positional_embedding'),
)


def transformers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by transformers' names, each once; the authors' files have others."""
    patterns = RENAMED if any(name.startswith('image_encoder.') for name in state) else ()
    renamed = {}
    for name, value in state.items():
        for pattern, other in patterns:
            name = re.sub(pattern, other, name)
        renamed[name] = value
    renamed.pop(TIED, None)
    return renamed
