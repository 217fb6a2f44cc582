"""Floating-point operations of a method on an image, counted by torch while they are done: two for each multiply-add.

Matrix products, convolutions and attention are counted: in the trunk, in helpers, and in what the method adds until
there are logits. Left out are elementwise work, softmax and LayerNorm, the text tower (once a run), stitching,
refinement and decision, and what is not torch's, such as CLIPtrase's DBSCAN. Region maps are found anew, though a run
finds them kept on disk.

Papers give ratios alone (SCLIP's table 4, CLIPtrase's table 2), for which it does not matter whether a multiply-add is
one operation or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..backbones.text import Text
from ..helpers import HELPERS, RegionHelper
from ..inference.pipeline import pixel_logits
from ..inference.windows import Windows
from ..methods.base import TrainingFreeSegmentor
from ..settings import parameters_of
from ..timing import STOPWATCH

T = TypeVar('T')

#: An image of Pascal VOC, the short side of which is resized to 336, (height, width).
TYPICAL = (336, 448)


def _attention(query: tuple, key: tuple, value: tuple, *_: object, **__: object) -> int:
    """Operations of a fused attention, from the shapes that it is given."""
    return sdpa_flop_count(query, key, value)


def _product(left: Tensor, right: Tensor, *_: object, **__: object) -> int:
    """Operations of a matrix product; of a sparse matrix, as LPOSS's graph, its entries alone are multiplied."""
    entries = left.numel() if left.layout == torch.strided else left._nnz()
    return 2 * entries * right.shape[-1]


# The counter gives it tensors, not shapes.
_product._get_raw = True

#: CPUs have a fused attention of their own, which torch's counter does not know, and it takes sparse matrices for full.
FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten.mm: _product,
}


@dataclass(frozen=True)
class Flops:
    """What an image costs.

    Attributes:
        windows: how many the model sees.
        trunk: operations of the untouched blocks, over all windows.
        method: of what the method does with their tokens, head and match included.
        helper: of the frozen models beside CLIP.
    """

    windows: int
    trunk: int
    method: int
    helper: int = 0

    @property
    def total(self) -> int:
        return self.trunk + self.method + self.helper

    @property
    def text(self) -> str:
        """In 10^9: ``"211.0 GFLOP an image: trunk 193.1, method 17.9"``; the helper's where there is one."""
        parts = dict(trunk=self.trunk, method=self.method) | (dict(helper=self.helper) if self.helper else {})
        shown = ', '.join(f'{name} {number / 1e9:,.1f}' for name, number in parts.items())
        return f'{self.total / 1e9:,.1f} GFLOP an image: {shown}'


def counted(compute: Callable[[], T]) -> tuple[T, int]:
    """What ``compute`` gives, and its operations."""
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        result = compute()
    return result, counter.get_total_flops()


@torch.no_grad()
def flops_of_image(
    model: TrainingFreeSegmentor, image: Tensor, size: tuple[int, int] | None = None, path: str | None = None
) -> Flops:
    """Count what a method does with an image.

    Methods that look at what they see (GCLIP's emerging block) do more for one image than for another.

    Args:
        image: (3, H, W), normalized.
        size: (H, W) of the original image; None: the image's.
        path: of the original image; see :meth:`Helper.of_image`.
    """
    # Text vectors that are not known yet are no part of an image.
    _ = model.text
    with _found_anew(model), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        STOPWATCH.reset()
        STOPWATCH.meter = counter.get_total_flops
        try:
            pixel_logits([model], [image], [size or tuple(image.shape[1:])], paths=[path])
        finally:
            STOPWATCH.meter = None
    done = STOPWATCH.operations
    windows = Windows.over(tuple(model.prepared(image).shape[1:]), model.window, model.stride)
    # Nothing is stitched while no pixel's logits are asked for: of that stage it is the match.
    return Flops(len(windows), done['trunk'], done['method'] + done['stitch+decide'], done['helper'])


def flops_of_config(config: Config, size: tuple[int, int] = TYPICAL) -> Flops:
    """Count what a config's method does with an image of noise, all weights being random: for tables and plans.

    Where a method treats each window by itself, one is computed and stands for all, which are of one shape; no class
    name is encoded.

    Args:
        config: a leaf config, or any with its ``model``.
        size: (height, width) of the image as the model sees it.
    """
    settings = dict(config.model)
    settings['backbone'] = dict(settings.get('backbone') or {}, pretrained=None)
    for name in HELPERS:
        if settings.get(name) and 'pretrained' in parameters_of(MODELS.get(settings[name]['type']))[0]:
            settings[name] = dict(settings[name], pretrained=None)
    model = MODELS.build(settings).eval()
    vocabulary, generator = model.vocabulary, torch.Generator().manual_seed(0)
    vectors = torch.randn(len(vocabulary.queries), model.backbone.embed_dim, generator=generator)
    model.backbone.texts[vocabulary] = Text(
        F.normalize(vectors, dim=-1), vocabulary.query_class, vocabulary.multiplicity
    )
    # Windows are brought together by what a helper says of them.
    whole = bool(model.helpers) and type(model).image_logits is not TrainingFreeSegmentor.image_logits
    windows = Windows.over(tuple(size), model.window, model.stride)
    found = flops_of_image(model, torch.randn(3, *(size if whole else windows.window), generator=generator))
    if whole:
        return found
    count = len(windows)
    return Flops(count, count * found.trunk, count * found.method, count * found.helper)


@contextmanager
def _found_anew(model: TrainingFreeSegmentor) -> Iterator[None]:
    """No region map is read from disk, and none written."""
    finders = [helper for helper in model.helpers.values() if isinstance(helper, RegionHelper)]
    for helper in finders:
        helper.keeps = False
    try:
        yield
    finally:
        for helper in finders:
            helper.keeps = True
