"""CorrCLIP (v1): Reconstructing Patch Correlations in CLIP for Open-Vocabulary Semantic Segmentation (Zhang, Liu, Tan;
ICCV 2025, arXiv 2411.10086).

Patches look at those of their region alone (scope reconstruction), by the cosines of a helper's q + k (value
reconstruction),

    A = softmax(4 * cos, within regions),   regions alike merged by single linkage,

and gather three things: the values of the last block (main), of the mean of inner blocks' outputs (spatial), and what a
[CLS] of their region, which sees [CLS] and the region's patches, has become behind the last block (semantic):

    (ln_post(main) + alpha * ln_post(spatial) + beta * ln_post(semantic)) proj.

No residual and no feed-forward network but in the semantic branch. After the decision each region takes its most
frequent label (map correction). Region maps come from a helper of their own (SAM 2, Mask2Former, or a folder).

Where released code and paper differ, this follows the code:
- The smallest id of a window stands for what is in no region, also where no id is 0. It takes no part in merging and
  correction, and its patches see each other by similarity, as those of different regions do where one is in none.
- The merged map goes to CLIP's grid by nearest, and from there to the helper's: two roundings.

Otherwise here: windows are not padded (the code gives padding the id 10000, which is also that of the first merged
region); sides that are no multiples of a patch lose their remainder, as with every method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...helpers import Helper, build_helper
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...settings import FiniteFloat, PositiveFloat
from ...timing import STOPWATCH
from ..base import TrainingFreeSegmentor
from ..cliptrase.regions import majority
from .scope import merged, resized, scope_attention

#: How many blocks' outputs the spatial branch takes, up to the third from the last, by how many there are.
SPATIAL = {12: 5, 24: 12, 32: 28}


@MODELS.register_module()
class CorrCLIP(TrainingFreeSegmentor):
    """Run CorrCLIP, or what is left without one of its parts.

    Args:
        helper: a :class:`Helper` that gives features, or the arguments of one: ``dict(type='ViT', ...)``.
        regions: a :class:`Helper` that gives region maps, or the arguments of one: ``dict(type='RegionFolder', ...)``.
        alpha: weight of the spatial branch.
        beta: weight of the semantic branch.
        sharpness: factor on the cosines in the attention.
        correct: let each region take its most frequent label.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    looks_at = (('helper', 'q'), ('helper', 'k'))

    def __init__(
        self,
        helper: Helper | dict,
        regions: Helper | dict,
        alpha: FiniteFloat = 1.0,
        beta: FiniteFloat = 0.5,
        sharpness: PositiveFloat = 4.0,
        correct: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.helper, self.regions = build_helper(helper), build_helper(regions, 'model.regions')
        self.alpha, self.beta, self.sharpness, self.correct = alpha, beta, sharpness, correct
        depth = len(self.backbone.blocks)
        last = max(depth - 2, 1)
        self.levels = tuple(range(max(last - SPATIAL.get(depth, round(depth * 5 / 12)), 0), last))
        # The semantic branch goes along with every block.
        self.inner_outputs = tuple(range(depth - 1))

    def token_grid(self, trunk: Trunk) -> tuple[int, int]:
        return tuple(self.seen(trunk, 'helper', 'q').shape[-2:])

    def similar(self, trunk: Trunk) -> Tensor:
        """Unit features (N, H * W, C) by which patches are alike."""
        summed = self.seen(trunk, 'helper', 'q') + self.seen(trunk, 'helper', 'k')
        return F.normalize(summed.flatten(2).transpose(1, 2), dim=-1)

    def scopes(self, trunk: Trunk) -> tuple[Tensor, Tensor]:
        """Merged ids (N, H, W) on the helper's grid, and attention weights (N, H * W, H * W)."""
        key = ('scopes', self.helper, self.regions, self.sharpness)
        return trunk.once_of_images(key, lambda: self._scopes(trunk))

    def _scopes(self, trunk: Trunk) -> tuple[Tensor, Tensor]:
        features, given = self.similar(trunk), resized(self.regions_of(trunk), self.token_grid(trunk))
        ids = torch.stack([merged(*of_window) for of_window in zip(given, features, strict=True)])
        return ids, scope_attention(features, ids, self.sharpness)

    def gathered(self, tokens: Tensor, trunk: Trunk) -> Tensor:
        """Gather the last block's values of tokens (N, prefix + h * w, width), through its output projection."""
        block, grid = self.backbone.blocks[-1], self.token_grid(trunk)
        values = self.patches(block.qkv(tokens, trunk.rotation)[2].transpose(1, 2).flatten(2))
        values = values.transpose(1, 2).unflatten(2, trunk.grid)
        values = F.interpolate(values.float(), size=grid, mode='bilinear', align_corners=False)
        out = self.scopes(trunk)[1] @ values.flatten(2).transpose(1, 2)
        return block.project(out.to(self.backbone.dtype))

    def region_tokens(self, ids: Tensor, trunk: Trunk) -> Tensor:
        """What a [CLS] of each region becomes: (N, R, width) for regions (N, h, w) numbered from 0 on CLIP's grid."""
        count = int(ids.max()) + 1
        sees = ids.flatten(1)[:, None] == torch.arange(count, device=ids.device)[:, None]
        sees = F.pad(sees, (self.backbone.prefix, 0), value=True)[:, None]
        inputs = [self.backbone.embed(trunk.images, self.positions)[0]]
        inputs += [trunk.outputs[index] for index in self.inner_outputs]
        tokens = inputs[0][:, :1].expand(-1, count, -1)
        for block, seen in zip(self.backbone.blocks, inputs, strict=True):
            _, key, value = block.qkv(seen, trunk.rotation)
            # A [CLS] is nowhere, and not rotated.
            query = block.qkv(tokens, None if trunk.rotation is None else trunk.rotation[:0])[0]
            scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).masked_fill(~sees, -torch.inf)
            tokens = block.surround(tokens, block.output(scores.softmax(-1) @ value))
        return tokens

    def semantic(self, trunk: Trunk) -> Tensor:
        """Each patch's region as a [CLS] sees it: (N, H * W, width)."""
        coarse = resized(self.scopes(trunk)[0], trunk.grid)
        numbered = torch.stack([of.unique(return_inverse=True)[1] for of in coarse])
        tokens = self.region_tokens(numbered, trunk)
        index = resized(numbered, self.token_grid(trunk)).flatten(1)
        return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))

    def branches(self, trunk: Trunk) -> tuple[Tensor, Tensor, Tensor]:
        """Compute main, spatial and semantic branch, each (N, H * W, width) before ``ln_post``."""
        inner = sum(trunk.outputs[level] for level in self.levels) / len(self.levels)
        return self.gathered(trunk.tokens, trunk), self.gathered(inner, trunk), self.semantic(trunk)

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        tower = self.backbone.tower
        main, spatial, semantic = (tower.norm(branch) for branch in self.branches(trunk))
        tokens = tower.project(main + self.alpha * spatial + self.beta * semantic)
        # There is no [CLS].
        return F.pad(tokens, (0, 0, self.backbone.prefix, 0))

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[object],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, Tensor],
    ) -> PixelLogits:
        with STOPWATCH.stage('stitch+decide', patches.device):
            return PixelLogits(patches, windows, size, (whole['regions'],))

    def decide(self, logits: PixelLogits) -> Tensor:
        labels = super().decide(logits)
        if not self.correct:
            return labels
        with STOPWATCH.stage('stitch+decide', labels.device):
            ids = resized(logits.notes[0][None], labels.shape)[0].unique(return_inverse=True)[1]
            common = majority(labels, ids, len(self.vocabulary), False)
            return torch.where(ids == 0, labels, common)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        """As for every method; of the main branch, averaged over the helper's patches that lie in one of CLIP's."""
        count = trunk.grid[0] * trunk.grid[1]
        values = torch.eye(count, device=trunk.tokens.device).unflatten(1, trunk.grid)[None]
        values = F.interpolate(values, size=self.token_grid(trunk), mode='bilinear', align_corners=False)
        weights = (self.scopes(trunk)[1] @ values.flatten(2).transpose(1, 2)).transpose(1, 2)
        weights = F.adaptive_avg_pool2d(weights.unflatten(2, self.token_grid(trunk)), trunk.grid)
        weights = weights.flatten(2).transpose(1, 2)[:, None].expand(-1, self.backbone.blocks[-1].heads, -1, -1)
        before = self.backbone.prefix
        return F.pad(weights, (before, 0, before, 0))
