"""What a vision tower is made of: patches, attentions one after another, and the head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import Attention


class Tower(ABC):
    """A view of an open_clip vision tower; it owns no parameters.

    Tokens are (N, prefix + h * w, width): what stands before the patches ([CLS], registers) first.

    Attributes:
        visual: the library's module.
        blocks: its attentions in their order; see :class:`Attention`.
        patch: side of a patch in pixels.
        native_grid: rows and columns of patches that it was trained on.
        width: of the tokens.
        embed_dim: of the space shared with text.
        prefix: how many tokens stand before the patches.
        hidden: width of a block's feed-forward network.
        positions: trained position embedding (k + h * w, width) of the native grid, k being how many of the
            tokens before the patches have one; None where no position is embedded.
    """

    visual: nn.Module
    blocks: Sequence[Attention]
    patch: int
    native_grid: tuple[int, int]
    width: int
    embed_dim: int
    prefix: int
    hidden: int
    positions: Tensor | None

    #: Modules beside those that every run imports whose version can move a number.
    modules: tuple[str, ...] = ()

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @classmethod
    @abstractmethod
    def fits(cls, visual: nn.Module) -> bool:
        """The module is made of what this class knows."""

    @abstractmethod
    def embed(self, images: Tensor, positions: Tensor | None) -> Tensor:
        """Tokens that go into the first attention.

        Args:
            images: (N, 3, h * patch, w * patch).
            positions: :attr:`positions` for their grid.
        """

    def rotation(self, grid: tuple[int, int]) -> Tensor | None:
        """Sines and cosines of rotary positions, (h * w, 2 d) in fp32; None where positions are not rotary."""
        return None

    @abstractmethod
    def norm(self, tokens: Tensor) -> Tensor:
        """The norm of tokens before :meth:`project`."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Tensor:
        """Bring each normalized token, (N, T, width), into the space shared with text by itself: (N, T, embed_dim)."""

    def pooled(self, tokens: Tensor) -> Tensor:
        """The tower's own image embedding, (N, embed_dim), of what the last attention gave."""
        return self.project(self.norm(tokens[:, 0]))

    def flops(self, grid: tuple[int, int], depth: int) -> int:
        """Floating-point operations of one image with ``grid`` patches up to a depth: two for each multiply-add."""
        patches = grid[0] * grid[1]
        tokens, width = patches + self.prefix, self.width
        block = tokens * width * (4 * width + 2 * self.hidden) + 2 * tokens * tokens * width
        return 2 * (patches * 3 * self.patch**2 * width + depth * block)


def patch_products(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Run a convolution whose stride is its kernel: patches (N, h * w, width).

    It is a matrix product; written as one it is faster and never TF32.
    """
    patch = convolution.kernel_size[0]
    rows, columns = (side // patch for side in images.shape[-2:])
    patches = images.reshape(len(images), 3, rows, patch, columns, patch)
    patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(len(images), rows * columns, -1)
    return F.linear(patches, convolution.weight.flatten(1), convolution.bias)


def with_prefix(prefix: Sequence[Tensor], patches: Tensor, positions: Tensor | None) -> Tensor:
    """Put tokens before the patches, and embed positions.

    Args:
        prefix: [CLS] and registers (k, width), or nothing.
        patches: (N, h * w, width).
        positions: (h * w, width), or with the prefix's own before them; None: there are none.
    """
    embeds_prefix = positions is not None and len(positions) > patches.shape[1]
    if positions is not None and not embeds_prefix:
        patches = patches + positions
    tokens = torch.cat([*(token.expand(len(patches), -1, -1) for token in prefix), patches], dim=1)
    if embeds_prefix:
        tokens += positions
    return tokens
