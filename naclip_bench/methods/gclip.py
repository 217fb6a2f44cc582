"""GCLIP: Rethinking the Global Knowledge of CLIP in Training-Free Open-Vocabulary Semantic Segmentation (Wang, Yan,
Kang; CVPR 2025, arXiv 2502.06818).

ClearCLIP (eq. 1: last block A_qq v, no residual, no feed-forward network) with two changes:

- Attention map fusion (eq. 2 to 5): A = (A_g + ... + A_{g+l} + A_qq) / (l + 2), where A_i is CLIP's own attention map
  of block i and g the first block that has a global token, a patch that all patches attend to.
- Channel suppression (eq. 6 to 9): in the second linear layer of the feed-forward networks of blocks s to the last, the
  output channel whose weights W_d have the largest norm gets W_d / ||W_d|| * (mean norm of the others).

No code was released. Blocks count from 0, as in the paper. The choices here:
- The test of eq. 2, max over keys of (prod over queries of sigma A) > 0, tells blocks apart only because floating point
  underflows. Here it is sum over queries of log(sigma A) > log(2^-24), on maps in fp32 whatever the model runs in.
  2^-24 is the smallest fp16 number: CLIP on GPUs and ClearCLIP's code run in fp16. On 14 x 14 patches a global token
  is then one that gets 0.92 % of the attention (geometric mean over queries; 0.51 % is uniform). fp32's 2^-149 would
  ask for 0.59 %, as sigma = 156 does here: hardly the "super high" of the paper.
- A in the test is the mean over heads, one map a block as in the paper's Figure 1: in a single head, a patch that all
  queries prefer a little is no rarity. Queries and keys are patches, not [CLS]: global tokens are patches.
- g is found for every window by itself, among the blocks that have l more before the last (the paper's l < f - g). If
  none passes, it is the last of these.
- Maps are fused head by head, [CLS] included.
- "Only modify the Value embeddings in the subsequent blocks with other parts unchanged": beside CLIP's own path a
  second one leaves from block s, with suppressed weights and values of its own but the attention maps of CLIP's own
  path. That one also gives the maps of the fusion and the last block's queries; the second gives its values. Nothing is
  suppressed in the last block: its feed-forward network is left out.
- The suppressed channel's bias stays. Sizes of images and windows are not given; they are the common ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..backbones import Trunk, attend
from ..backbones.blocks import Block
from ..backbones.families import CLS, EVERYTHING
from ..errors import BenchError
from ..settings import NonNegativeInt, PositiveFloat
from .base import TrainingFreeSegmentor

#: What a product must exceed so as not to be 0: the smallest positive number in fp16.
SMALLEST = 2.0**-24


def attention_map(query: Tensor, key: Tensor) -> Tensor:
    """Compute softmax(query key^T / sqrt(d)) in fp32, (N, heads, T, T), from (N, heads, T, d) in any precision."""
    return (query.float() * query.shape[-1] ** -0.5 @ key.float().transpose(-1, -2)).softmax(-1)


def log_products(maps: Tensor, sigma: float, prefix: int = 1) -> Tensor:
    """Compute log of eq. 2's product for every patch, (N, patches), from one block's maps (N, heads, T, T).

    Args:
        maps: of all tokens.
        sigma: of eq. 2.
        prefix: how many tokens stand before the patches.
    """
    patches = maps[:, :, prefix:, prefix:].mean(1)
    return (sigma * patches).log().sum(-2)


def has_global_token(maps: Tensor, sigma: float, prefix: int = 1) -> Tensor:
    """Test eq. 2 on the attention maps (N, heads, T, T) of one block: (N,) bool; see :func:`log_products`."""
    return log_products(maps, sigma, prefix).amax(-1) > math.log(SMALLEST)


def emerging_maps(maps: Iterable[Tensor], last: int, following: int, sigma: float, prefix: int = 1) -> Tensor:
    """Add up A_g to A_{g + following}, (N, heads, T, T), with each window's own g (eq. 3 and 4).

    Args:
        maps: attention maps (N, heads, T, T) block by block; one block's are held at a time.
        last: the block at which g ends if no block before passes the test.
        following: l.
        sigma: of eq. 2.
        prefix: how many tokens stand before the patches.
    """
    total = emerged = taken = 0
    for index, block_maps in enumerate(maps):
        emerged = emerged | has_global_token(block_maps, sigma, prefix) | (index == last)
        take = emerged & (taken <= following)
        taken = taken + take.int()
        total = total + block_maps * take[:, None, None, None]
    return total


def suppression(weight: Tensor) -> Tensor:
    """Compute what eq. 6 to 9 multiply the rows of a weight (D_out, D_in) by: (D_out,) in fp32, 1 but for one row."""
    norms = weight.float().norm(dim=1)
    largest, channel = norms.max(0, keepdim=True)
    others = (norms.sum() - largest) / (len(norms) - 1)
    return torch.ones_like(norms).scatter(0, channel, others / largest)


def suppressed_ffn(block: Block, tokens: Tensor) -> Tensor:
    """Run the block's feed-forward network with its second weight suppressed; the weight itself is left alone."""
    layer = block.last_layer
    factor = suppression(layer.weight).to(layer.bias)
    # (factor W) x + b = factor (W x + b) + (1 - factor) b
    return block.scaled(torch.addcmul((1 - factor) * layer.bias, factor, block.feed_forward(tokens)))


@MODELS.register_module()
class GCLIP(TrainingFreeSegmentor):
    """Run GCLIP, or an ablation of its Tables 1 to 4.

    Args:
        fuse_following: l, how many blocks after the emerging one are fused too; None: no attention map fusion.
        suppress_from: s, the block from which channels are suppressed; None: no channel suppression.
        sigma: of eq. 2. The test depends on the number of patches: other patch or window sizes may want another.
        fused: whose rows of the fused maps every token takes: its own (``patches``) or [CLS]'s (``cls``, Table 4).
        **kwargs: see :class:`TrainingFreeSegmentor`.
    """

    def __init__(
        self,
        fuse_following: NonNegativeInt | None = 1,
        suppress_from: NonNegativeInt | None = 7,
        sigma: PositiveFloat = 100.0,
        fused: Literal['patches', 'cls'] = 'patches',
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        blocks = len(self.backbone.blocks)
        for name, value in (('fuse_following', fuse_following), ('suppress_from', suppress_from)):
            if value is not None and value > blocks - 2:
                raise BenchError(f'GCLIP.{name} is {value}; with this backbone it must be at most {blocks - 2}')
        self.fuse_following, self.suppress_from, self.sigma = fuse_following, suppress_from, sigma
        self.fused = fused
        if suppress_from is not None:
            self.changed_blocks = blocks - suppress_from
        if fuse_following is not None:
            # With the trunk's own end and beginning, the inputs of all blocks it ran; smaller than their maps.
            self.inner_outputs = tuple(range(self.shared_depth - 1))

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        by_cls = settings['fused'] == 'cls' and settings['fuse_following'] is not None
        return EVERYTHING if by_cls else EVERYTHING - {CLS}

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        rotation, (inputs, second) = trunk.rotation, self.paths(trunk)
        block = self.backbone.blocks[-1]
        _, _, value = block.qkv(second, rotation)
        return self.backbone.head(block.output(self.fused_attention(inputs, rotation).to(value.dtype) @ value))

    def attention_weights(self, trunk: Trunk) -> Tensor:
        return self.fused_attention(self.paths(trunk)[0], trunk.rotation)

    def paths(self, trunk: Trunk) -> tuple[list[Tensor], Tensor]:
        """Follow the tokens that go into the blocks, along both paths.

        Returns:
            inputs (N, T, width) along CLIP's own path, of all blocks (with fusion) or of the last ones; and the input
            of the last block along the path with suppressed channels.
        """
        depth, inputs = self.shared_depth, [trunk.tokens]
        if self.fuse_following is not None and depth:
            embedded, _ = self.backbone.embed(trunk.images, self.positions)
            inputs = [embedded, *(trunk.outputs[index] for index in self.inner_outputs), trunk.tokens]
        second = trunk.tokens
        for block in self.backbone.blocks[depth:-1]:
            query, key, value = block.qkv(inputs[-1], trunk.rotation)
            _, _, second_value = block.qkv(second, trunk.rotation)
            second = second + block.output(attend(query, key, second_value))
            second += suppressed_ffn(block, second)
            inputs.append(block.surround(inputs[-1], block.output(attend(query, key, value))))
        return inputs, second

    def fused_attention(self, inputs: list[Tensor], rotation: Tensor | None) -> Tensor:
        """Compute A of eq. 4, (N, heads, T, T) in fp32, from the inputs along CLIP's own path."""
        *blocks, final = self.backbone.blocks
        query, _, _ = final.qkv(inputs[-1], rotation)
        attention = attention_map(query, query)
        if self.fuse_following is None:
            return attention
        maps = (attention_map(*block.qkv(tokens, rotation)[:2]) for block, tokens in zip(blocks, inputs, strict=False))
        last = len(blocks) - 1 - self.fuse_following
        emerged = emerging_maps(maps, last, self.fuse_following, self.sigma, self.backbone.prefix)
        if self.fused == 'cls':
            emerged = emerged[:, :, :1].expand_as(emerged)
        return (emerged + attention) / (self.fuse_following + 2)
