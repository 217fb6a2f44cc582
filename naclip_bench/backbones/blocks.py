"""One residual block of CLIP's vision transformer, taken into the pieces that methods put together anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

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


class Block:
    """A view of an open_clip ``ResidualAttentionBlock``; it owns no parameters.

    Tokens are (N, T, width); queries, keys and values (N, heads, T, width / heads).

    Args:
        module: the open_clip block.
        silu: the block's activation is SiLU, its QuickGELU having been folded into the weights by
            :func:`fold_quick_gelu`; otherwise it is the module's own (GELU).
    """

    def __init__(self, module: nn.Module, silu: bool) -> None:
        self.module = module
        self.silu = silu
        self.heads: int = module.attn.num_heads

    def normalized(self, tokens: Tensor) -> Tensor:
        """``ln_1(tokens)``, what the attention sees."""
        return self.module.ln_1(tokens)

    def qkv(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of ``ln_1(tokens)``, biases included."""
        attention = self.module.attn
        projected = F.linear(self.normalized(tokens), attention.in_proj_weight, attention.in_proj_bias)
        return tuple(self.split(part) for part in projected.chunk(3, dim=-1))

    def split(self, features: Tensor) -> Tensor:
        """(N, T, width) into heads: (N, heads, T, width / heads)."""
        return features.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def output(self, heads: Tensor) -> Tensor:
        """Join the heads (N, heads, T, d) and apply the output projection: (N, T, width)."""
        return self.module.attn.out_proj(heads.transpose(1, 2).flatten(2))

    def attention(self, tokens: Tensor, causal: bool = False) -> Tensor:
        """CLIP's own self-attention of ``ln_1(tokens)``, without the residual."""
        return self.output(attend(*self.qkv(tokens), causal=causal))

    def attention_map(self, tokens: Tensor) -> Tensor:
        """CLIP's own attention weights, (N, heads, T, T); each row sums to 1."""
        query, key, _ = self.qkv(tokens)
        return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)

    def ffn(self, tokens: Tensor) -> Tensor:
        """The feed-forward network of ``ln_2(tokens)``, without the residual."""
        mlp = self.module.mlp
        hidden = mlp.c_fc(self.module.ln_2(tokens))
        # In place: the hidden layer is four times the tokens, and an idle copy of it costs as much as arithmetic.
        hidden = F.silu(hidden, inplace=True) if self.silu else mlp.gelu(hidden)
        return mlp.c_proj(hidden)

    def surround(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block around another attention's output: both residuals and the feed-forward network.

        Args:
            tokens: (N, T, width) the block's input.
            attended: (N, T, width) what takes the place of :meth:`attention`.
        """
        out = tokens + attended
        return out + self.ffn(out)

    def add_(self, tokens: Tensor, causal: bool = False) -> Tensor:
        """The untouched block, written over ``tokens``."""
        tokens += self.attention(tokens, causal)
        tokens += self.ffn(tokens)
        return tokens


@torch.no_grad()
def fold_quick_gelu(module: nn.Module) -> None:
    """Move QuickGELU's constant into the two linear layers around it, so that what is left is SiLU.

    ``W2 quickgelu(W1 x + b1) = (W2 / c) silu(c W1 x + c b1)`` with c = 1.702: the same function to float rounding,
    in one pass over the hidden layer in place of four.
    """
    module.mlp.c_fc.weight.mul_(QUICK_GELU)
    module.mlp.c_fc.bias.mul_(QUICK_GELU)
    module.mlp.c_proj.weight.div_(QUICK_GELU)
