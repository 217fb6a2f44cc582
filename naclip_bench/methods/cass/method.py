"""CASS: Distilling Spectral Graph for Object-Context Aware Open-Vocabulary Semantic Segmentation (Kim et al.; CVPR
2025, arXiv 2411.17150).

NACLIP's last block (k-k attention plus a Gaussian over neighbors, without residual and feed-forward network), whose
scores take in a helper's graph, head by head,

    L = (10 w L_helper + L_clip) / (10 w + 1),    softmax(L + omega) v,

where L_clip = k k^T / sqrt(d), L_helper is what rank 10 leaves of DINO's k k^T, and w says how far the spectra of the
two heads lie apart; heads are paired by the Hungarian method so that they complement each other. Among class names that
mean nearly the same, the one most like the picture moves towards the two patches most like it, and each class gets a
share ``global_share`` of how much it is like the picture.

No outputs of the released code were at hand. Where code and paper differ, this follows what is known of the code:
- [CLS] is taken out before the attention.
- The helper sees colors that are normalized for CLIP and un-normalized with ImageNet's numbers, of which the last
  deviation has a slip (0.255), cut to bytes that would wrap, and resized to a square of the shorter side (bicubic).
- The helper's keys are mapped to the range of CLIP's (a whole window's), and its graph, with a diagonal of 0, to that
  of CLIP's head.
- Pairs are read the other way round; see :func:`paired`.
- Singular values are stretched, but for VOC20 and Cityscapes (``stretch``).

Otherwise here: the rank-10 approximation is exact, where the code has a randomized one that differs from run to run
(docs/methods.md says by how much); of pairings that cost the same, which is common, one is taken by a rule; a word that
stands in two classes is one word; the helper's keys stay in fp32, where the code casts them to fp16. Read from what is
known, where it leaves a choice: a word that moved has moved for the picture, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Literal

import numpy as np
import torch
from mmseg.registry import MODELS
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...backbones.colors import NAMED
from ...backbones.families import CLS, RESIDUALS, SELF_ATTENTION
from ...errors import BenchError
from ...helpers import Helper, build_helper
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...settings import NonNegativeFloat, PositiveFloat, Probability
from ...timing import STOPWATCH
from ..last_block import LastBlockSegmentor, gaussian_neighborhood
from ..stages import LOGITS
from .spectral import in_short, paired, rescaled, spectra_apart
from .words import moved_words, word_groups

#: How much a helper's graph weighs beside CLIP's, where spectra lie 1 apart.
WEIGHT = 10

#: ImageNet's colors as the code has them.
MEAN, DEVIATION = NAMED['imagenet'][0], (0.229, 0.224, 0.255)


@MODELS.register_module()
class CASS(LastBlockSegmentor):
    """Run CASS. What the authors tune for each dataset has COCO-Object's values.

    Args:
        helper: a :class:`Helper` that gives keys of as many heads as CLIP has, or the arguments of one:
            ``dict(type='ViT', ...)``.
        sigma: standard deviation of the Gaussian, in patches.
        stretch: stretch the singular values of the helper's graph.
        global_share: of the picture in the logits (gamma).
        word_share: of the patches in what a word becomes (alpha).
        word_distance: height at which the tree of words is cut into groups (h).
        picture: what is the picture of a window: the whole ``image``, or the ``window`` itself.
        **kwargs: see :class:`TrainingFreeSegmentor`.

    Raises:
        BenchError: the helper has another number of heads than the backbone.
    """

    looks_at = (('helper', 'k'),)
    modules = ('scipy',)

    def __init__(
        self,
        helper: Helper | dict,
        sigma: PositiveFloat = 5.0,
        stretch: bool = True,
        global_share: Probability = 0.25,
        word_share: Probability = 0.01,
        word_distance: NonNegativeFloat = 0.1,
        picture: Literal['image', 'window'] = 'image',
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.helper = build_helper(helper)
        own, of_helper = self.backbone.blocks[-1].heads, getattr(self.helper, 'heads', 0)
        if own != of_helper:
            raise BenchError(
                f'model.helper has {of_helper} heads with keys, the backbone {own}; CASS pairs them: choose another '
                'model.helper.arch'
            )
        self.sigma, self.stretch, self.picture = sigma, stretch, picture
        self.global_share, self.word_share, self.word_distance = global_share, word_share, word_distance

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        # A window's own embedding goes through the last block as it was trained.
        return {SELF_ATTENTION} | ({CLS, RESIDUALS} if settings['picture'] == 'window' else set())

    def seen(self, trunk: Trunk, name: str, kind: str) -> Tensor:
        """Features of the windows as CASS shows them to a helper; see :func:`shown`."""
        helper = self.helpers[name]
        height, width = (side * self.backbone.patch for side in trunk.grid)
        images = trunk.images[..., :height, :width]
        return trunk.once_of_images((helper, 'shown by CASS'), lambda: helper.look(shown(images))).features(kind)

    def helper_keys(self, trunk: Trunk) -> Tensor:
        """Keys (N, heads, h * w, d) of the helper, on CLIP's grid."""
        keys = self.seen(trunk, 'helper', 'k')
        keys = F.interpolate(keys, size=trunk.grid, mode='bilinear', align_corners=False)
        return keys.flatten(2).unflatten(1, (self.helper.heads, -1)).transpose(2, 3)

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        before = self.backbone.prefix
        scores = fused_scores(key[:, :, before:].float(), self.helper_keys(trunk), self.stretch)
        omega = gaussian_neighborhood(trunk.grid, self.sigma, torch.float32, scores.device, prefix=0)
        out = (scores + omega).softmax(-1).to(value.dtype) @ value[:, :, before:]
        # Nothing of [CLS] is left.
        return F.pad(out, (0, 0, before, 0))

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[tuple[Tensor, Tensor | None]]:
        """Unit patches (h * w, D) of each window and, where it is its own picture, its embedding (D,)."""
        patches, pictures = F.normalize(self.patches(tokens), dim=-1), [None] * len(tokens)
        if self.picture == 'window':
            last = self.backbone.blocks[-1].add_(trunk.tokens.clone(), rotation=trunk.rotation)[:, 0]
            pictures = F.normalize(self.backbone.head(last).float(), dim=-1)
        return [*zip(patches, pictures, strict=True)]

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[tuple[Tensor, Tensor | None]],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, object],
    ) -> PixelLogits:
        vectors = self.text.vectors
        with STOPWATCH.stage('method', patches.device), self._reading(LOGITS):
            unit = torch.stack([of_window for of_window, _ in notes])
            if self.picture == 'window':
                pictures = torch.stack([picture for _, picture in notes])
            else:
                pictures = F.normalize(self.backbone.encode_image(image[None]).float(), dim=-1).expand(len(unit), -1)
            groups = word_groups(vectors, self.word_distance)
            words = moved_words(vectors, groups, pictures, unit, self.word_share)
            of_patches = (words @ unit.transpose(1, 2)).unflatten(2, patches.shape[-2:])
            of_picture = (words @ pictures[..., None])[..., None]
            logits = (1 - self.global_share) * of_patches + self.global_share * of_picture
        return super().image_logits(logits, (), windows, size, image, whole)


def fused_scores(clip: Tensor, helper: Tensor, stretch: bool) -> Tensor:
    """Scores (N, heads, n, n) before the Gaussian, of keys (N, heads, n, d) in fp32 of both."""
    low, high = (end((1, 2, 3), keepdim=True) for end in (clip.amin, clip.amax))
    helper = rescaled(helper, low, high, (1, 2, 3))
    partners, apart = paired(spectra_apart(helper, clip))
    graph = in_short(helper, stretch)
    graph.diagonal(dim1=2, dim2=3).zero_()
    graph = graph.gather(1, partners[..., None, None].expand_as(graph))
    own = clip @ clip.transpose(2, 3) * clip.shape[-1] ** -0.5
    graph = rescaled(graph, own.amin((2, 3), keepdim=True), own.amax((2, 3), keepdim=True), (2, 3))
    weight = WEIGHT * apart.float()[..., None, None]
    return (weight * graph + own) / (weight + 1)


def shown(images: Tensor) -> Tensor:
    """What the helper sees of normalized images (N, 3, H, W): (N, 3, side, side) in 0..1."""
    mean, deviation = (images.new_tensor(part).view(3, 1, 1) for part in (MEAN, DEVIATION))
    pixels = as_bytes((images * deviation + mean) * 255).permute(0, 2, 3, 1).cpu().numpy()
    side = min(pixels.shape[1:3])
    # By pillow, as the code does; of a square nothing changes.
    squares = [np.asarray(Image.fromarray(of).resize((side, side), Image.Resampling.BICUBIC)) for of in pixels]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).to(images.device) / 255


def as_bytes(values: Tensor) -> Tensor:
    """Values cut to whole numbers, and wrapped where they are no bytes."""
    return values.long().remainder(256).byte()
