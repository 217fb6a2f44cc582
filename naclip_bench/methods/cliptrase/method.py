"""CLIPtrase: Explore the Potential of CLIP for Training-Free Open Vocabulary Semantic Segmentation (Shao, Tian, Zhao,
Su; ECCV 2024, arXiv 2407.08268).

Semantic correlation recovery (eq. 3): the last block attends by softmax(q q^T / sqrt(d)) + softmax(k k^T / sqrt(d)) +
softmax(v v^T / sqrt(d)), residual and feed-forward network kept. Patch clustering (eqs. 4 to 6): DBSCAN on the rows of
the correlation matrix W, the cosines of q, of k and of v, averaged over the three and the heads; the patches of a
region decide its class together.

Where released code and paper differ, this follows the code; what the paper writes is a setting where one is named:
- The paper's attention *is* W, one for all heads, [CLS] in it (eq. 3, ``attention='correlation'``); the code's is the
  sum of three softmaxes, whose rows add up to 3.
- W is that of the block *before* the last, which itself runs untouched; the paper's is the last's
  (``cluster_layer=12``).
- Denoising subtracts [CLS]'s row from W and cuts off below 0. Eq. 7 drops patches whose mean correlation is above that
  with themselves, which no cosine can be (``denoise='patches'``).
- The rows of W are clustered as they are; eq. 4 has them at unit length (``unit_rows=True``).
- Cosines are those of a head, averaged over the heads; A.2 offers those of all heads side by side
  (``heads='joined'``).
- eps and min_samples are 0.7 and 3 at 224 pixels and 1.1 and 7 at 336; the paper has the former everywhere.
- On VOC20 patch logits are multiplied by [CLS]'s, class by class, which the paper does not mention.
- There is no code for SAM (Table 3): see :mod:`.prompts`.

The released code segments the central square of an image at once, and in each region the most frequent *label* wins
(``vote='labels'``, ``configs/official``). Labels of windows cannot be stitched: the common protocol uses
``vote='logits'``, where each patch gets the mean of its region's logits, as the authors do in their detectron2 port.
The regions are those of the same smoothed maps, taken at the patch grid.

Choices where no code was released:
- Table 4's forms of the attention, without clustering: <x_i, x_i>, where a token gathers its own value alone
  (``attention='self'``); <x_i, x_j> and cos(x_i, x_j), eq. 3 with either measure (``attention='correlation'``); the
  last within the ground truth's regions (``within='truth'``): patches gather from those that have the same label in
  their middle, ignored pixels being one label, and not from [CLS], which sees all.
- Table 2: ``product`` is q q^T / sqrt(d) and so on, averaged likewise; ``features`` clusters the output tokens at unit
  length, and the regions' maps stay the means of W; a ``layer`` before the last has the recovered attention in that
  block, and CLIP's own in those behind it.
- Table 5, masks of DINOv2: W is of a ``helper``'s output tokens, on the helper's grid, in the place of q, k and v; only
  the regions are made of it. It has no [CLS] to denoise by.
- Without denoising W is clustered as it is, negative cosines included.
- The position embedding is interpolated as the SCLIP family does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk, attend
from ...backbones.families import CLS, EVERYTHING
from ...errors import BenchError
from ...helpers import Helper, PromptedSAM, Prompts, build_helper
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...optional import needed
from ...settings import Count, PositiveFloat
from ...timing import STOPWATCH
from ..base import TrainingFreeSegmentor
from ..last_block import unit_values
from .prompts import mask_regions
from .regions import cluster_maps, clusters, local_patches, majority, patch_regions, regional_mean, regions
from .truth import pairs_within, patch_labels

#: The factor on cosines that CLIP was trained to.
CLIP_SCALE = 100.0


@MODELS.register_module()
class CLIPtrase(TrainingFreeSegmentor):
    """Run CLIPtrase as its code or as its paper has it, some of its modules, or an ablation of its Tables 2 and 4.

    Args:
        recover: what the recovered attention sums over: ``qkv`` (CLIPtrase), ``qk`` (SCLIP's, for the paper's tables);
            None for CLIP's own attention.
        attention: ``softmax`` of products (the code), ``correlation`` (eq. 3: W itself, of what ``recover`` names), or
            ``self`` (each token's own value).
        within: ``truth``: patches attend within the ground truth's regions; the pipeline must have
            :class:`MaskBesideImage`. None: everywhere.
        layer: block whose attention is recovered, from 1; None: the last.
        cluster: what is clustered, ``attention`` (the rows of W) or ``features``; None for no clustering.
        cluster_layer: block whose correlations W are, from 2; None: the one before ``layer``.
        helper: a :class:`Helper` whose features W is of in the place of a block's, or the arguments of one (Table 5).
        sam: a :class:`Helper` that gives masks by points, which are the regions then, or the arguments of one
            (Table 3): ``dict(type='PromptedSAM')``.
        correlation: measure of W, ``cosine`` or ``product``.
        heads: measured ``apart`` and averaged, or ``joined`` (eq. 14).
        unit_rows: cluster the rows of W at unit length (eq. 4).
        denoise: subtract [CLS]'s row from W and cut off below 0; ``patches``: leave patches out by eq. 7.
        eps, min_samples: DBSCAN's.
        vote: what the patches of a region share, ``logits`` or ``labels``; the latter for whole images.
        background: class 0 is a background that loses a tied vote, as the authors' stands behind the others.
        weigh_by_cls: multiply patch logits by 100 times [CLS]'s.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    modules = ('sklearn',)

    def __init__(
        self,
        recover: Literal['qkv', 'qk'] | None = 'qkv',
        attention: Literal['softmax', 'correlation', 'self'] = 'softmax',
        within: Literal['truth'] | None = None,
        layer: int | None = None,
        cluster: Literal['attention', 'features'] | None = 'attention',
        cluster_layer: int | None = None,
        helper: Helper | dict | None = None,
        sam: Helper | dict | None = None,
        correlation: Literal['cosine', 'product'] = 'cosine',
        heads: Literal['apart', 'joined'] = 'apart',
        unit_rows: bool = False,
        denoise: bool | Literal['patches'] = True,
        eps: PositiveFloat = 0.7,
        min_samples: Count = 3,
        vote: Literal['logits', 'labels'] = 'logits',
        background: bool = False,
        weigh_by_cls: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        if cluster:
            needed('sklearn.cluster', 'cluster', 'CLIPtrase')
        blocks = len(self.backbone.blocks)
        layer = blocks if layer is None else layer
        if not 2 <= layer <= blocks:
            raise BenchError(f'CLIPtrase.layer is {layer}; with this backbone it must be from 2 to {blocks}')
        cluster_layer = layer - 1 if cluster_layer is None else cluster_layer
        if cluster and not 2 <= cluster_layer <= layer:
            raise BenchError(f'CLIPtrase.cluster_layer is {cluster_layer}; it must be from 2 to layer, {layer}')
        if vote == 'labels' and (self.window is not None or self.refine is not None):
            raise BenchError("CLIPtrase: vote='labels' is for whole images, not refined: window=None, refine=None")
        if attention == 'correlation' and recover is None:
            raise BenchError("CLIPtrase: attention='correlation' is of what recover names; it must be qkv or qk")
        if helper is not None and (cluster != 'attention' or denoise is True):
            raise BenchError(
                "CLIPtrase: a helper's features are clustered by cluster='attention', and have no [CLS] to denoise by: "
                "denoise=False, or 'patches'"
            )
        if sam is not None and not (cluster and vote == 'labels'):
            raise BenchError("CLIPtrase: SAM's masks are regions of clusters that vote on labels: vote='labels'")
        self.changed_blocks = blocks - layer + 1
        self.helper = build_helper(helper) if helper is not None else None
        self.sam = build_helper(sam, 'model.sam') if sam is not None else None
        if self.sam and not isinstance(self.sam, PromptedSAM):
            raise BenchError("CLIPtrase: model.sam must give masks of points: type='PromptedSAM'")
        if self.helper:
            self.looks_at = (('helper', 'tokens'),)
        elif cluster and cluster_layer < layer:
            self.inner_outputs = (cluster_layer - 2,)
        self.recover, self.layer, self.cluster, self.cluster_layer = recover, layer, cluster, cluster_layer
        self.attention, self.within, self.heads, self.unit_rows = attention, within, heads, unit_rows
        self.correlation, self.denoise, self.eps, self.min_samples = correlation, denoise, eps, min_samples
        self.vote, self.background, self.weigh_by_cls = vote, background, weigh_by_cls

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        denoised = settings['denoise'] is True and settings['cluster'] and settings['helper'] is None
        return EVERYTHING if denoised or settings['weigh_by_cls'] else EVERYTHING - {CLS}

    def attended(self, query: Tensor, key: Tensor, value: Tensor, gathered: Tensor, trunk: Trunk) -> Tensor:
        """Attend as recovered: what every token gathers of ``gathered``, (N, heads, T, d) or (N, heads, T, T)."""
        features = dict(q=query, k=key, v=value)
        if self.attention == 'self':
            return gathered
        seen = pairs_within(patch_labels(trunk, self.backbone.patch), self.backbone.prefix) if self.within else None
        if self.attention == 'correlation':
            weights = self.correlation_of(torch.stack([features[name] for name in self.recover]))
            weights = weights if seen is None else weights * seen
            return weights[:, None].to(gathered.dtype) @ gathered
        mask = (
            None if seen is None else torch.zeros_like(seen, dtype=query.dtype).masked_fill(~seen, -torch.inf)[:, None]
        )
        if not self.recover:
            return attend(query, key, gathered, mask)
        return sum(attend(features[name], features[name], gathered, mask) for name in self.recover)

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        tokens, rest = self.recovered(trunk), self.backbone.blocks[self.shared_depth + 1 :]
        for block in rest:
            block.add_(tokens, rotation=trunk.rotation)
        return self.backbone.head(tokens)

    def recovered(self, trunk: Trunk) -> Tensor:
        """Run the block with the recovered attention: (N, T, width)."""
        block = self.backbone.blocks[self.shared_depth]
        query, key, value = block.qkv(trunk.tokens, trunk.rotation)
        return block.surround(trunk.tokens, block.output(self.attended(query, key, value, value, trunk)))

    def attention_weights(self, trunk: Trunk) -> Tensor:
        last = self.backbone.blocks[-1]
        if self.changed_blocks > 1:
            tokens = self.recovered(trunk)
            for block in self.backbone.blocks[self.shared_depth + 1 : -1]:
                block.add_(tokens, rotation=trunk.rotation)
            return last.attention_map(tokens, trunk.rotation)
        query, key, value = last.qkv(trunk.tokens, trunk.rotation)
        return self.attended(query, key, value, unit_values(query), trunk)

    def correlations(self, trunk: Trunk) -> Tensor:
        """Compute W of all tokens, (N, T, T) in fp32, what stands before the patches first."""
        tokens = trunk.tokens if self.cluster_layer == self.layer else trunk.outputs[self.cluster_layer - 2]
        block = self.backbone.blocks[self.cluster_layer - 1]
        return self.correlation_of(torch.stack(block.qkv(tokens, trunk.rotation)))

    def correlation_of(self, features: Tensor) -> Tensor:
        """Compute W of eq. 3, (N, T, T) in fp32, from what it averages over, (kinds, N, heads, T, d)."""
        features = features.float()
        if self.heads == 'joined':
            features = features.transpose(2, 3).flatten(3).unsqueeze(2)
        if self.correlation == 'cosine':
            features = F.normalize(features, dim=-1)
        else:
            features = features * features.shape[-1] ** -0.25
        # The sum over q, k, v and the heads is one product of what they say side by side.
        kinds, windows, heads, count, _ = features.shape
        features = features.permute(1, 3, 0, 2, 4).reshape(windows, count, -1)
        return features @ features.transpose(-1, -2) / (kinds * heads)

    def patch_correlations(self, trunk: Trunk) -> Tensor:
        """Compute W between patches, less [CLS]'s row where the settings say so, (N, h * w, h * w) in fp32.

        The patches are those of the helper where there is one.
        """
        if self.helper:
            features = self.seen(trunk, 'helper', 'tokens').flatten(2).transpose(1, 2)
            return self.correlation_of(features[None, :, None])
        correlations = self.correlations(trunk)
        before = self.backbone.prefix
        weights = correlations[:, before:, before:]
        return (weights - correlations[:, :1, before:]).relu() if self.denoise is True else weights

    def clusters_of(self, points: Tensor, correlation: Tensor) -> Tensor:
        """Cluster the patches of one window by their points (h * w, D): (h * w,) from 0, -1 for noise."""
        if self.denoise != 'patches':
            return clusters(points, self.eps, self.min_samples)
        labels, kept = torch.full((len(points),), -1), local_patches(correlation)
        if kept.any():
            labels[kept] = clusters(points[kept], self.eps, self.min_samples)
        return labels

    def clustered(self, tokens: Tensor, trunk: Trunk) -> Iterator[tuple[Tensor, Tensor]]:
        """Cluster each window's patches, on the CPU: (h * w,) from 0, -1 for noise, and the rows of W."""
        weights = self.patch_correlations(trunk).cpu()
        points = weights if self.cluster == 'attention' else F.normalize(self.patches(tokens), dim=-1).cpu()
        if self.unit_rows:
            points = F.normalize(points, dim=-1)
        for own, rows in zip(points, weights, strict=True):
            yield self.clusters_of(own, rows), rows

    def cluster_grid(self, trunk: Trunk) -> tuple[int, int]:
        """Tell rows and columns of the patches that are clustered."""
        return tuple(self.seen(trunk, 'helper', 'tokens').shape[-2:]) if self.helper else trunk.grid

    def maps(self, tokens: Tensor, trunk: Trunk) -> list[Tensor]:
        """Draw the clusters' maps of each window, on the CPU; see :func:`cluster_maps`."""
        grid = self.cluster_grid(trunk)
        return [cluster_maps(labels, rows, grid) for labels, rows in self.clustered(tokens, trunk)]

    def match(self, tokens: Tensor, text: Tensor, trunk: Trunk) -> Tensor:
        logits = super().match(tokens, text, trunk)
        if self.weigh_by_cls:
            logits = logits * (CLIP_SCALE * F.normalize(tokens[:, :1], dim=-1) @ text.T)
        if self.cluster and self.vote == 'logits':
            shared = torch.stack([patch_regions(maps, trunk.grid) for maps in self.maps(tokens, trunk)])
            logits = regional_mean(logits, shared.to(logits.device))
        return logits

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[Tensor | None]:
        if self.sam:
            grid = self.cluster_grid(trunk)
            return [labels.unflatten(0, grid) for labels, _ in self.clustered(tokens, trunk)]
        if self.cluster and self.vote == 'labels':
            return self.maps(tokens, trunk)
        return super().notes(tokens, trunk)

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[Tensor | None],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, Prompts],
    ) -> PixelLogits:
        if self.sam:
            clusters = notes[0]
            seen = (side * self.backbone.patch for side in patches.shape[-2:])
            patch = tuple(side / count for side, count in zip(seen, clusters.shape, strict=True))
            with STOPWATCH.stage('helper', patches.device):
                notes = [mask_regions(clusters, whole['sam'], patch, size)]
        return super().image_logits(patches, notes, windows, size, image, whole)

    @classmethod
    def can_be_refined(cls, settings: Mapping[str, object]) -> bool:
        return settings.get('vote') != 'labels'

    def decide(self, logits: PixelLogits) -> Tensor:
        labels = super().decide(logits)
        if self.vote == 'logits' or not self.cluster:
            return labels
        (found,) = logits.notes
        if not len(found):
            return labels
        with STOPWATCH.stage('stitch+decide', labels.device):
            shared = (found if self.sam else regions(found, logits.size)).to(labels.device)
            # What is in no mask has a vote of its own, which is not asked.
            voted = majority(labels, shared + 1, len(self.vocabulary), self.background)
            return torch.where(shared < 0, labels, voted)
