"""The text tower: open_clip's own, and where it is causal, run only as far as the texts are long."""

from __future__ import annotations

import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn

from .towers.vit import blocks_of, plain_blocks


class TextTower:
    """A view of a model's text tower; it owns no parameters.

    Where texts can be trimmed, the blocks are changed (:func:`fold_quick_gelu`).

    Attributes:
        width: of its tokens.
    """

    def __init__(self, clip: CLIP | CustomTextCLIP) -> None:
        self.clip = clip
        #: Holds the parts: OpenAI's layout has them beside the vision tower.
        self.parts: nn.Module = getattr(clip, 'text', clip)
        self.pool: str = getattr(self.parts, 'pool_type', getattr(clip, 'text_pool_type', ''))
        self.trims = (
            isinstance(self.pool, str)
            and self.pool in ('argmax', 'eos')
            and getattr(self.parts, 'attn_mask', None) is not None
            and getattr(self.parts, 'cls_emb', None) is None
            and isinstance(self.parts.text_projection, nn.Parameter)
            and plain_blocks(self.parts.transformer)
        )
        self.blocks = blocks_of(self.parts.transformer) if self.trims else []

    @property
    def width(self) -> int:
        transformer = getattr(self.parts, 'transformer', None)
        return self.parts.config.hidden_size if transformer is None else transformer.width

    def ends(self, tokens: Tensor) -> Tensor:
        """Where the texts end whose embedding is that of their last token, (N,) indices into (N, context_length)."""
        if self.pool == 'eos':
            eos = getattr(self.parts, 'eos_id', getattr(self.clip, 'text_eos_id', None))
            return (tokens == eos).int().argmax(dim=-1)
        return tokens.argmax(dim=-1)

    def encode(self, tokens: Tensor) -> Tensor:
        """Embeddings (N, embed_dim) in fp32, not normalized, of token ids (N, context_length).

        In a causal tower, nothing behind the end-of-text token can reach it: the batch is trimmed to its longest text,
        and only the end-of-text token goes through the head. Exact.
        """
        if not self.trims:
            return self.clip.encode_text(tokens)
        parts, end = self.parts, self.ends(tokens)
        tokens = tokens[:, : int(end.max()) + 1]
        x = parts.token_embedding(tokens) + parts.positional_embedding[: tokens.shape[1]]
        for block in self.blocks:
            block.add_(x, causal=True)
        x = x[torch.arange(len(x), device=x.device), end]
        return parts.ln_final(x) @ parts.text_projection
