"""Do global tokens classify an image as [CLS] does? (GCLIP, CVPR 2025, Table 5 and its paragraph in Section 4.3.)

"We utilize the embedding of [CLS] token as visual feature to perform zero-shot classification [...]. Then we use the
results predicted with [CLS] token as ground truth to evaluate the zero-shot classification results with global tokens.
To make a comparison, we randomly select other tokens." No code was released. The choices here:

- An image is what CLIP's own classification sees of it: its central square at 224 pixels (bicubic).
- The classes are the dataset's, with the queries and prompts of the benchmark; a class is that of the likeliest query.
- Tokens are those of CLIP's own last block, [CLS] and patches alike, through the head that is trained for [CLS].
- The emerging block is GCLIP's own: the first that passes the test of eq. 2, among those with l = 1 more before the
  last, or the last of these. The image's one global token is the patch with the highest product of eq. 2 there.
- In place of a patch drawn at random, all that fail the test in that block are counted, over all images together.
  Where none fails, they are all but the global token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Trunk
from ..inference.decide import NOT_FINITE
from ..inference.pamr import RefinedLogits
from ..inference.stitch import PixelLogits
from ..settings import NonNegativeInt, PositiveFloat
from .base import TrainingFreeSegmentor
from .gclip import SMALLEST, attention_map, log_products


@MODELS.register_module()
class TokenAgreement(TrainingFreeSegmentor):
    """Classify whole images by [CLS] and by patch tokens; "labels" are (2, tokens), [CLS]'s class above theirs.

    Args:
        token: ``global``, or ``random`` for the others.
        following: l of GCLIP.
        sigma: of eq. 2.
        **kwargs: see :class:`TrainingFreeSegmentor`; the window is None.
    """

    changed_blocks = 0

    def __init__(
        self,
        token: Literal['global', 'random'],
        following: NonNegativeInt = 1,
        sigma: PositiveFloat = 100.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.token, self.sigma = token, sigma
        #: The last block that may be the emerging one.
        self.last = len(self.backbone.blocks) - 2 - following
        self.inner_outputs = tuple(range(self.last))

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        return self.backbone.head(trunk.tokens)

    def products(self, trunk: Trunk) -> Tensor:
        """Compute the logarithm of eq. 2's product for every patch in each window's emerging block, (N, patches)."""
        embedded, _ = self.backbone.embed(trunk.images, self.positions)
        found = None
        for block, tokens in zip(self.backbone.blocks, (embedded, *trunk.outputs.values()), strict=False):
            maps = attention_map(*block.qkv(tokens, trunk.rotation)[:2])
            products = log_products(maps, self.sigma, self.backbone.prefix)
            if found is None:
                found = products
            else:
                emerged = found.amax(-1, keepdim=True) > math.log(SMALLEST)
                found = torch.where(emerged, found, products)
        return found

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[Tensor]:
        """Find the classes of [CLS] and of the chosen patches, (2, tokens) a window."""
        text, query_class, _ = self.text
        classes = query_class[(F.normalize(tokens, dim=-1) @ text.T).argmax(-1)]
        classes = classes.masked_fill(~tokens.isfinite().all(-1), NOT_FINITE)
        chosen = [self.choose(products) for products in self.products(trunk)]
        return [
            torch.stack([of_cls.expand(mask.sum()), of_patches[mask]])
            for of_cls, of_patches, mask in zip(classes[:, 0], self.patches(classes), chosen, strict=True)
        ]

    def choose(self, products: Tensor) -> Tensor:
        """Choose the patches that are asked, (patches,) bool."""
        is_global = torch.zeros_like(products, dtype=torch.bool)
        is_global[products.argmax()] = True
        if self.token == 'global':
            return is_global
        others = ~is_global & (products <= math.log(SMALLEST))
        return others if others.any() else ~is_global

    @classmethod
    def can_be_refined(cls, settings: Mapping[str, object]) -> bool:
        """Tokens are no pixels."""
        return False

    def decide(self, logits: PixelLogits | RefinedLogits) -> Tensor:
        (classes,) = logits.notes
        return classes
