"""One block around a self-attention, taken into the pieces that methods put together anew."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from .norms import add_and_normalize, normalize

#: cuDNN's attention is left out: it plans anew for every shape, 0.1 s each, and whole images come in many shapes.
ATTENTION_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

#: QuickGELU(x) = x * sigmoid(1.702 x) = silu(1.702 x) / 1.702
QUICK_GELU = 1.702


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(query key^T / sqrt(d) + mask) value, fused where that is faster.

    Args:
        query, key, value: (N, heads, T, d).
        mask: (T, T) or broadcastable, added to the scaled products.
        causal: each token sees itself and those before it only.
    """
    if query.device.type == 'cpu' and query.dtype != torch.float32 and not causal:
        # torch's fused kernel for half precision on CPUs takes half as long again as the plain products.
        scores = (query @ key.transpose(-1, -2)).mul_(query.shape[-1] ** -0.5)
        return (scores if mask is None else scores.add_(mask)).softmax(-1) @ value
    with sdpa_kernel(ATTENTION_KERNELS):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


class Attention(ABC):
    """A view of a module that attends; it owns no parameters.

    Tokens are (N, T, width); queries, keys and values (N, heads, T, width / heads). A family of towers says how tokens
    are normalized and projected, and what becomes of what the heads gather.

    Where positions are rotary, ``rotation`` is :attr:`Trunk.rotation` of the patches; they are the last of the tokens,
    and those before them are not rotated.

    Args:
        module: the library's.
        heads: of its attention.
    """

    def __init__(self, module: nn.Module, heads: int) -> None:
        self.module, self.heads = module, heads

    @abstractmethod
    def normalized(self, tokens: Tensor) -> Tensor:
        """What the attention sees of the tokens."""

    @abstractmethod
    def projected(self, normalized: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, biases included, each (N, T, width)."""

    @abstractmethod
    def project(self, joined: Tensor) -> Tensor:
        """From joined heads (N, T, width) to what is added to the tokens: output projection and layer scale."""

    @property
    @abstractmethod
    def query_weight(self) -> Tensor:
        """The matrix (width, width) that makes queries of normalized tokens, multiplied from the left."""

    def qkv(self, tokens: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values as the attention's products take them: biases and rotation included."""
        return tuple(self.split(part) for part in self.projected(self.normalized(tokens)))

    def split(self, features: Tensor) -> Tensor:
        """(N, T, width) into heads: (N, heads, T, width / heads)."""
        return features.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def output(self, heads: Tensor) -> Tensor:
        """Join the heads (N, heads, T, d) and :meth:`project` them: (N, T, width)."""
        return self.project(heads.transpose(1, 2).flatten(2))

    def attention(self, tokens: Tensor, causal: bool = False, rotation: Tensor | None = None) -> Tensor:
        """The self-attention as it was trained, without the residual."""
        return self.output(attend(*self.qkv(tokens, rotation), causal=causal))

    def attention_map(self, tokens: Tensor, rotation: Tensor | None = None) -> Tensor:
        """The attention weights as they were trained, (N, heads, T, T); each row sums to 1."""
        query, key, _ = self.qkv(tokens, rotation)
        return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)

    def run(self, tokens: Tensor, causal: bool = False, rotation: Tensor | None = None) -> Tensor:
        """The untouched whole, which may be written over ``tokens``."""
        return self.attention(tokens, causal, rotation)


class Block(Attention):
    """An attention with residuals and a feed-forward network around it."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Linear:
        """The last layer of the feed-forward network."""

    @abstractmethod
    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The feed-forward network as far as its last layer."""

    def scaled(self, output: Tensor) -> Tensor:
        """What is added to the tokens of the feed-forward network's ``output``: layer scale, or a norm behind it."""
        return output

    def ffn(self, tokens: Tensor) -> Tensor:
        """The feed-forward network, without the residual."""
        return self.scaled(self.feed_forward(tokens))

    def surround(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block around another attention's output: both residuals and the feed-forward network.

        Args:
            tokens: (N, T, width) the block's input.
            attended: (N, T, width) what takes the place of :meth:`attention`.
        """
        out = tokens + attended
        return out + self.ffn(out)

    def add_(self, tokens: Tensor, causal: bool = False, rotation: Tensor | None = None) -> Tensor:
        """The untouched block, written over ``tokens``."""
        tokens += self.attention(tokens, causal, rotation)
        tokens += self.ffn(tokens)
        return tokens

    run = add_


class ResidualBlock(Block):
    """An open_clip ``ResidualAttentionBlock``.

    Attributes:
        silu: the block's activation is SiLU, its QuickGELU having been folded into the weights by
            :func:`fold_quick_gelu`; otherwise it is the module's own (GELU).
    """

    def __init__(self, module: nn.Module, silu: bool) -> None:
        super().__init__(module, module.attn.num_heads)
        self.silu = silu

    def normalized(self, tokens: Tensor) -> Tensor:
        return normalize(self.module.ln_1, tokens)

    def projected(self, normalized: Tensor) -> tuple[Tensor, ...]:
        attention = self.module.attn
        return F.linear(normalized, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)

    def project(self, joined: Tensor) -> Tensor:
        return self.module.ls_1(self.module.attn.out_proj(joined))

    @property
    def query_weight(self) -> Tensor:
        return self.module.attn.in_proj_weight.chunk(3)[0]

    @property
    def last_layer(self) -> nn.Linear:
        return self.module.mlp.c_proj

    def feed_forward(self, tokens: Tensor) -> Tensor:
        return self._feed_forward(normalize(self.module.ln_2, tokens))

    def _feed_forward(self, normalized: Tensor) -> Tensor:
        mlp = self.module.mlp
        hidden = mlp.c_fc(normalized)
        # In place: the hidden layer is four times the tokens, and an idle copy of it costs as much as arithmetic.
        hidden = F.silu(hidden, inplace=True) if self.silu else mlp.gelu(hidden)
        return mlp.c_proj(hidden)

    def scaled(self, output: Tensor) -> Tensor:
        return self.module.ls_2(output)

    def add_(self, tokens: Tensor, causal: bool = False, rotation: Tensor | None = None) -> Tensor:
        normalized = add_and_normalize(self.module.ln_2, tokens, self.attention(tokens, causal, rotation))
        tokens += self.scaled(self._feed_forward(normalized))
        return tokens

    run = add_


@torch.no_grad()
def fold_quick_gelu(module: nn.Module) -> None:
    """Move QuickGELU's constant into the two linear layers around it, so that what is left is SiLU.

    ``W2 quickgelu(W1 x + b1) = (W2 / c) silu(c W1 x + c b1)`` with c = 1.702: the same function to float rounding,
    in one pass over the hidden layer in place of four.
    """
    module.mlp.c_fc.weight.mul_(QUICK_GELU)
    module.mlp.c_fc.bias.mul_(QUICK_GELU)
    module.mlp.c_proj.weight.div_(QUICK_GELU)
