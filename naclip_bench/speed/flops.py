"""Floating-point operations of a method on an image, counted by torch while they are done: two for each multiply-add.

Matrix products and attention are counted, in the trunk and in what the method adds until there are logits of patches.
Left out are elementwise work, softmax and LayerNorm, the text tower (once a run), stitching, refinement and decision,
and what is not torch's, such as CLIPtrase's DBSCAN.

Papers give ratios alone (SCLIP's table 4, CLIPtrase's table 2), for which it does not matter whether a multiply-add is
one operation or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..backbones.text import Text
from ..inference.windows import Windows
from ..methods.base import TrainingFreeSegmentor

T = TypeVar('T')

#: An image of Pascal VOC, the short side of which is resized to 336, (height, width).
TYPICAL = (336, 448)


def _attention(query: tuple, key: tuple, value: tuple, *_: object, **__: object) -> int:
    """Operations of a fused attention, from the shapes that it is given."""
    return sdpa_flop_count(query, key, value)


#: CPUs have a fused attention of their own, which torch's counter does not know.
OF_CPUS = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


@dataclass(frozen=True)
class Flops:
    """What an image costs.

    Attributes:
        windows: how many the model sees.
        trunk: operations of the untouched blocks, over all windows.
        method: of what the method does with their tokens, head and match included.
    """

    windows: int
    trunk: int
    method: int

    @property
    def total(self) -> int:
        return self.trunk + self.method

    @property
    def text(self) -> str:
        """In 10^9: ``"211.0 GFLOP an image: trunk 193.1, method 17.9"``."""
        total, trunk, method = (f'{number / 1e9:,.1f}' for number in (self.total, self.trunk, self.method))
        return f'{total} GFLOP an image: trunk {trunk}, method {method}'


def counted(compute: Callable[[], T]) -> tuple[T, int]:
    """What ``compute`` gives, and its operations."""
    with FlopCounterMode(display=False, custom_mapping=OF_CPUS) as counter:
        result = compute()
    return result, counter.get_total_flops()


@torch.no_grad()
def flops_of_image(model: TrainingFreeSegmentor, image: Tensor) -> Flops:
    """Count what a method does with an image.

    Methods that look at what they see (GCLIP's emerging block) do more for one image than for another.

    Args:
        image: (3, H, W), normalized.
    """
    windows = Windows.over(tuple(image.shape[-2:]), model.window, model.stride)
    return _flops_of_windows(model, torch.stack(windows.crop(image)).split(model.batch_of_windows(image.device)))


@torch.no_grad()
def flops_of_config(config: Config, size: tuple[int, int] = TYPICAL) -> Flops:
    """Count what a config's method does with an image of noise, its weights being random: for tables and plans.

    One window is computed and stands for all, which are of one shape; no class name is encoded.

    Args:
        config: a leaf config, or any with its ``model``.
        size: (height, width) of the image as the model sees it.
    """
    settings = dict(config.model)
    settings['backbone'] = dict(settings.get('backbone') or {}, pretrained=None)
    model = MODELS.build(settings).eval()
    vocabulary, generator = model.vocabulary, torch.Generator().manual_seed(0)
    vectors = torch.randn(len(vocabulary.queries), model.backbone.embed_dim, generator=generator)
    model.backbone.texts[vocabulary] = Text(
        F.normalize(vectors, dim=-1), vocabulary.query_class, vocabulary.multiplicity
    )
    windows = Windows.over(tuple(size), model.window, model.stride)
    one = _flops_of_windows(model, [torch.randn(1, 3, *windows.window, generator=generator)])
    return Flops(len(windows), len(windows) * one.trunk, len(windows) * one.method)


def _flops_of_windows(model: TrainingFreeSegmentor, batches: list[Tensor]) -> Flops:
    of_trunk = of_method = 0
    # Text vectors that are not known yet are no part of an image.
    _ = model.text
    for windows in batches:
        (trunk,), flops = counted(lambda windows=windows: model.backbone.trunks(windows, [model.need]))
        of_trunk += flops
        _, flops = counted(lambda trunk=trunk: model.patch_logits(model.tokens(trunk), trunk))
        of_method += flops
    return Flops(sum(map(len, batches)), of_trunk, of_method)
