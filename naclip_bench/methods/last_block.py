"""What methods share that put another attention into the last block, and keep or leave out what is around it."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ..backbones import Trunk
from .base import TrainingFreeSegmentor


class LastBlockSegmentor(TrainingFreeSegmentor):
    """A method whose last block attends differently. A subclass implements :meth:`attended`."""

    #: The last block's residuals and feed-forward network stay around the attention; else its output is the encoder's.
    whole_block = False

    @abstractmethod
    def attended(self, query: Tensor, key: Tensor, value: Tensor, trunk: Trunk) -> Tensor:
        """The method's attention, linear in ``value``.

        Args:
            query, key, value: (N, heads, T, d) of the last block; not to be written over.
            trunk: where they came from.

        Returns:
            (N, heads, T, d): what every token gathered.
        """

    def dense_tokens(self, trunk: Trunk) -> Tensor:
        block = self.backbone.blocks[-1]
        query, key, value = trunk.once('last qkv', lambda: block.qkv(trunk.tokens))
        out = block.output(self.attended(query, key, value, trunk))
        return self.backbone.head(block.surround(trunk.tokens, out) if self.whole_block else out)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        # Attention is linear in the values: what gathers the unit vectors is the weights themselves.
        query, key, _ = self.backbone.blocks[-1].qkv(trunk.tokens)
        tokens = query.shape[2]
        units = torch.eye(tokens, dtype=query.dtype, device=query.device).expand(*query.shape[:2], tokens, tokens)
        return self.attended(query, key, units, trunk)
