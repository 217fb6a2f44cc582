"""LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic Segmentation (Stojnic, Kalantidis,
Matas, Tolias; CVPR 2025, arXiv 2503.19777).

MaskCLIP's patch predictions (the last block's value path, residual and feed-forward network kept) are the first guess P
over the patches of all windows of an image at once. They are propagated over one graph: each patch is tied to those of
most similar DINO values (last block), the more the nearer they are,

    w_ij = max(cos_ij, 0)^gamma * exp(-sigma * ||place_i - place_j||),   W <- W + W^T,   S = D^-1/2 W D^-1/2,
    (I - alpha * S) X = P.

LPOSS+ does the same once more over the pixels of the resized image, a pixel being tied to those around it by colors.

Where released code and paper differ, this follows the code:
- Conjugate gradients stop after 10 steps, before they have converged (the exact solution differs by 3e-4).
- A class has the highest of its words' scores before the resize to the original size; no softmax, no threshold.
- CLIP's position embedding is interpolated to the very size, without the 0.1 of the SCLIP family.

Otherwise here: scores are (1 - alpha) * X, which changes no label and stays on the scale of cosines, so that a
threshold of the common protocol means what it means for others; an image with fewer patches than ``neighbors`` has a
whole graph, where the code fails; what is left of an image at the right and below a patch is not seen, where the code
pads with black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...backbones.families import RESIDUALS
from ...helpers import Helper, build_helper
from ...inference.decide import decide
from ...inference.propagation import pixel_graph, propagated
from ...inference.stitch import PixelLogits
from ...inference.windows import Windows
from ...settings import Count, NonNegativeFloat, PositiveFloat, Probability
from ...timing import STOPWATCH
from ..last_block import LastBlockSegmentor
from ..stages import LOGITS
from .graph import node_graph


@MODELS.register_module()
class LPOSS(LastBlockSegmentor):
    """Run LPOSS, or LPOSS+.

    Args:
        helper: a :class:`Helper` that gives features, or the arguments of one: ``dict(type='ViT', ...)``.
        pixels: propagate over pixels too (LPOSS+).
        neighbors: k, of a patch in the graph, itself among them.
        alpha: share of its neighbors in what a node says.
        gamma: power of the similarities.
        sigma: of the distances, a pixel.
        radius: of a pixel's neighborhood (LPOSS+), in pixels.
        tau: of colors (LPOSS+).
        iterations: of conjugate gradients.
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    whole_block = True
    positions = 'bicubic'
    looks_at = (('helper', 'v'),)

    def __init__(
        self,
        helper: Helper | dict,
        pixels: bool = False,
        neighbors: Count = 400,
        alpha: Probability = 0.95,
        gamma: PositiveFloat = 3.0,
        sigma: NonNegativeFloat = 0.01,
        radius: Count = 6,
        tau: PositiveFloat = 0.01,
        iterations: Count = 10,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.helper = build_helper(helper)
        self.pixels, self.neighbors, self.alpha, self.gamma, self.sigma = pixels, neighbors, alpha, gamma, sigma
        self.radius, self.tau, self.iterations = radius, tau, iterations

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        return {RESIDUALS}

    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        return value

    def token_grid(self, trunk: Trunk) -> tuple[int, int]:
        return tuple(self.seen(trunk, 'helper', 'v').shape[-2:])

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        tokens, grid = super().dense_tokens(trunk), self.token_grid(trunk)
        if grid == trunk.grid:
            return tokens
        patches = self.patches(tokens).transpose(1, 2).unflatten(2, trunk.grid)
        patches = F.interpolate(patches.float(), size=grid, mode='bilinear', align_corners=False)
        before = tokens[:, : self.backbone.prefix].float()
        return torch.cat([before, patches.flatten(2).transpose(1, 2)], dim=1)

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[Tensor]:
        """Unit features (h * w, C) of each window's nodes."""
        return [*F.normalize(self.seen(trunk, 'helper', 'v').flatten(2).transpose(1, 2), dim=-1)]

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[Tensor],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, object],
    ) -> PixelLogits:
        with STOPWATCH.stage('method', patches.device), self._reading(LOGITS):
            scores = patches.permute(0, 2, 3, 1).flatten(0, 2)
            places = node_places(windows, patches.shape[-2:], self.backbone.patch).to(patches.device)
            graph = node_graph(torch.cat([*notes]), places, self.neighbors, self.gamma, self.sigma)
            spread = (1 - self.alpha) * propagated(graph, scores, self.alpha, self.iterations)
            spread = spread.float().unflatten(0, (len(windows), *patches.shape[-2:])).permute(0, 3, 1, 2)
            words = self.vocabulary.query_class.to(patches.device)
            if not self.pixels and len(words) == int(words[-1]) + 1:
                return PixelLogits(spread, windows, size)
            maps = PixelLogits(spread, windows, windows.size).full()
            if self.pixels:
                maps = self.over_pixels(maps, image)
            at_once = Windows.over(windows.size, None, 1)
            return PixelLogits(highest_of_class(maps, words)[None], at_once, size)

    def over_pixels(self, maps: Tensor, image: Tensor) -> Tensor:
        """Propagate scores (Q, H, W) over the pixels of the image (3, H, W) that they are of."""
        graph = pixel_graph(self.rgb(image), self.radius, self.tau)
        spread = propagated(graph, maps.flatten(1).T, self.alpha, self.iterations)
        return ((1 - self.alpha) * spread).float().T.unflatten(1, maps.shape[1:])

    def decide(self, logits: PixelLogits) -> Tensor:
        _, query_class, _ = self.text
        # The words of a class are one map by now, which counts once.
        share = 1 / query_class.bincount().to(logits.device)[query_class]
        with STOPWATCH.stage('refine' if self.refine else 'stitch+decide', self.backbone.device):
            rule = self.refine.decide if self.refine else decide
            return rule(logits, query_class, share, self.logit_scale, self.prob_thd, self.area_thd)


def node_places(windows: Windows, grid: tuple[int, int], patch: int) -> Tensor:
    """Centers (windows * h * w, 2) of the nodes of all windows, in pixels of the resized image.

    Args:
        grid: rows and columns of a window's nodes.
        patch: side of CLIP's patches, whole ones of which the nodes lie in.
    """
    steps = [side // patch * patch / nodes for side, nodes in zip(windows.window, grid, strict=True)]
    down, across = ((torch.arange(nodes) + 0.5) * step for nodes, step in zip(grid, steps, strict=True))
    tops, lefts = (torch.tensor(of, dtype=torch.float32) for of in (windows.tops, windows.lefts))
    shape = (len(tops), len(lefts), *grid)
    rows = (tops[:, None] + down)[:, None, :, None].expand(shape)
    columns = (lefts[:, None] + across)[None, :, None].expand(shape)
    return torch.stack([rows, columns], dim=-1).flatten(0, 3)


def highest_of_class(maps: Tensor, query_class: Tensor) -> Tensor:
    """Give every query (Q, H, W) the highest score among the words of its class."""
    highest = maps.new_full((int(query_class[-1]) + 1, *maps.shape[1:]), -torch.inf)
    index = query_class[:, None, None].expand_as(maps)
    return highest.scatter_reduce_(0, index, maps, 'amax')[query_class]
