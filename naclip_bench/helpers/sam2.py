"""SAM 2 (Ravi et al., arXiv 2408.00714), built by transformers: region maps of whole images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from ..backbones.clip import PRECISIONS
from ..backbones.colors import NAMED
from ..backbones.weights import check_finite, weights_hash
from ..optional import needed
from ..settings import Count, Probability, checked
from .hub import find_model, read_model
from .regions import HIGHEST, RegionHelper
from .weights import random_weights

#: Logits around 0 between which a mask may not change much, to be stable.
OFFSET = 1.0


@MODELS.register_module()
class SAM2(RegionHelper):
    """Everything that SAM 2 finds from a grid of points, painted into one map, the largest region last.

    A mask is kept where SAM 2 takes it for good and it is stable, and where no better one has nearly its box.

    Args:
        arch: arguments of transformers' ``Sam2Config`` for random weights; ``pretrained`` comes with its own.
        pretrained: a name on the Hugging Face hub, a folder that transformers saved, or None for random weights.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the whole model.
        points: of the grid, a side (CorrCLIP: 8, and 32 for its published maps).
        quality: lowest predicted IoU of a mask.
        stability: lowest IoU of a mask at two thresholds.
        overlap: highest IoU of the boxes of two masks that are kept.
        point_batch: points that go through the decoder together; it changes no map but by rounding.
    """

    modules = ('transformers', 'torchvision')

    @checked
    def __init__(
        self,
        arch: dict | None = None,
        pretrained: str | Path | None = 'facebook/sam2-hiera-large',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
        points: Count = 8,
        quality: Probability = 0.4,
        stability: Probability = 0.4,
        overlap: Probability = 0.7,
        point_batch: Count = 64,
    ) -> None:
        super().__init__()
        self.sam = _load(arch, pretrained)
        self.random_weights = pretrained is None
        self.weights_name = 'random' if pretrained is None else Path(str(pretrained)).name
        self.arch = 'sam2'
        state = {name: value.float().contiguous() for name, value in self.sam.state_dict().items()}
        check_finite(state, self.weights_name)
        self.weights_hash = weights_hash(state)
        self.sam.to(PRECISIONS[precision])
        self.precision, self.points, self.quality, self.stability = precision, points, quality, stability
        self.overlap, self.point_batch = overlap, point_batch
        self.side: int = self.sam.config.vision_config.backbone_config.image_size[0]
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in NAMED['imagenet'])
        self.register_buffer('_mean', mean, persistent=False)
        self.register_buffer('_deviation', deviation, persistent=False)

    @property
    def key(self) -> dict[str, object]:
        names = ('precision', 'points', 'quality', 'stability', 'overlap')
        return {**super().key, **{name: getattr(self, name) for name in names}}

    @classmethod
    def check(cls, settings: dict) -> None:
        needed('transformers.models.sam2', 'helpers', 'SAM 2')
        if (pretrained := settings.get('pretrained', 'facebook/sam2-hiera-large')) is not None:
            find_model(pretrained, 'SAM 2')

    @torch.no_grad()
    def regions(self, image: Tensor) -> Tensor:
        size = tuple(image.shape[1:])
        masks, scores = zip(*self._masks(image), strict=True)
        masks, scores = torch.cat(masks), torch.cat(scores)
        kept = nms(boxes_of(masks), scores, self.overlap)
        return painted(masks[kept], size)

    def _masks(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Masks (n, H, W) bool and their predicted IoUs (n,), a batch of points at a time."""
        dtype = self.sam.dtype
        resized = F.interpolate(image[None], size=(self.side,) * 2, mode='bilinear', antialias=True)
        seen = self.sam.get_image_embeddings(((resized - self._mean) / self._deviation).to(dtype))
        axis = (torch.arange(self.points, device=image.device) + 0.5) / self.points * self.side
        grid = torch.stack(torch.meshgrid(axis, axis, indexing='xy'), dim=-1).flatten(0, 1)
        found = []
        for places in grid.split(self.point_batch):
            out = self.sam(
                image_embeddings=seen,
                input_points=places[None, :, None].to(dtype),
                input_labels=torch.ones(1, len(places), 1, dtype=torch.int32, device=image.device),
                multimask_output=False,
            )
            scores, logits = out.iou_scores[0, :, 0].float(), out.pred_masks[0].float()
            good = scores > self.quality
            logits = F.interpolate(logits[good], size=tuple(image.shape[1:]), mode='bilinear', align_corners=False)[
                :, 0
            ]
            inner, outer = (logits > OFFSET).flatten(1).sum(1), (logits > -OFFSET).flatten(1).sum(1)
            stable = (inner / outer.clamp(min=1) >= self.stability) & (logits > 0).flatten(1).any(1)
            found.append((logits[stable] > 0, scores[good][stable]))
        return found


def boxes_of(masks: Tensor) -> Tensor:
    """Boxes (n, 4) as left, top, right, bottom of masks (n, H, W), none of them empty."""
    boxes = []
    for seen in (masks.any(1), masks.any(2)):
        first = seen.int().argmax(1)
        last = seen.shape[1] - 1 - seen.flip(1).int().argmax(1)
        boxes.append((first, last))
    (left, right), (top, bottom) = boxes
    return torch.stack([left, top, right, bottom], dim=1).float()


def painted(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Paint masks (n, H, W) into one map of ids from 1, larger ones over smaller; 0 where there is none."""
    regions = torch.zeros(size, dtype=torch.int64, device=masks.device)
    for number, index in enumerate(masks.flatten(1).sum(1).argsort(stable=True)[:HIGHEST].tolist()):
        regions[masks[index]] = number + 1
    return regions


def _load(arch: dict | None, pretrained: str | Path | None) -> nn.Module:
    if pretrained is not None:
        return read_model('Sam2Model', find_model(pretrained, 'SAM 2'), 'SAM 2')
    sam2 = needed('transformers.models.sam2', 'helpers', 'SAM 2')
    with torch.random.fork_rng():
        # Its position embedding is no parameter, and drawn when it is built.
        torch.manual_seed(0)
        model = sam2.Sam2Model(sam2.Sam2Config(**(arch or {}))).eval()
    model.load_state_dict(random_weights(model, 'sam2.'), strict=False)
    return model
