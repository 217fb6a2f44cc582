"""TIPSv2 (the successor of arXiv 2410.16512) as transformers has it: two [CLS] tokens, layer scale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...optional import needed
from ..blocks import Block
from .base import Tower, patch_products, with_prefix


class TipsBlock(Block):
    """A ``Tipsv2VisionLayer``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, module.attention.num_attention_heads)

    def normalized(self, tokens: Tensor) -> Tensor:
        return self.module.norm1(tokens)

    def projected(self, normalized: Tensor) -> tuple[Tensor, ...]:
        attention = self.module.attention
        return attention.q_proj(normalized), attention.k_proj(normalized), attention.v_proj(normalized)

    def project(self, joined: Tensor) -> Tensor:
        return self.module.layer_scale1(self.module.attention.o_proj(joined))

    @property
    def query_weight(self) -> Tensor:
        return self.module.attention.q_proj.weight

    @property
    def last_layer(self) -> nn.Linear:
        mlp = self.module.mlp
        return mlp.fc2 if hasattr(mlp, 'fc2') else mlp.down_proj

    def feed_forward(self, tokens: Tensor) -> Tensor:
        return self.module.mlp(self.module.norm2(tokens))

    def scaled(self, output: Tensor) -> Tensor:
        return self.module.layer_scale2(output)


class TipsTower(Tower):
    """transformers' ``Tipsv2VisionModel``; its first [CLS] is the image, in the space shared with text as it is."""

    modules = ('transformers',)

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        patches = visual.embeddings.patch_embeddings
        self.patch = patches.projection.kernel_size[0]
        self.native_grid = tuple(side // self.patch for side in patches.image_size)
        self.width = self.embed_dim = visual.config.hidden_size
        self.prefix = 1 + visual.config.num_register_tokens
        self.positions = visual.embeddings.position_embeddings[0]
        self.blocks = [TipsBlock(layer) for layer in visual.encoder.layer]
        self.hidden = self.blocks[0].last_layer.in_features

    @classmethod
    def fits(cls, visual: nn.Module) -> bool:
        # By its name, as the library takes seconds to import.
        return type(visual).__name__ == 'Tipsv2VisionModel'

    def embed(self, images: Tensor, positions: Tensor | None) -> Tensor:
        embeddings = self.visual.embeddings
        patches = patch_products(images, embeddings.patch_embeddings.projection)
        cls, patches = with_prefix([embeddings.cls_token[0]], patches, positions).tensor_split([1], dim=1)
        # Registers have no position.
        return torch.cat([cls, embeddings.register_tokens.expand(len(patches), -1, -1), patches], dim=1)

    def norm(self, tokens: Tensor) -> Tensor:
        return self.visual.layernorm(tokens)

    def project(self, tokens: Tensor) -> Tensor:
        return tokens


class TipsModel(nn.Module):
    """transformers' ``Tipsv2Model`` with the interface of open_clip's models, and parameters by their own names.

    Args:
        config: what its ``config.json`` says.

    Raises:
        BenchError: transformers is not installed, or does not know it yet.
    """

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        library = needed('transformers.models.tipsv2', 'helpers', 'TIPSv2')
        towers = {key: config[key] for key in ('text_config', 'vision_config')}
        model = library.Tipsv2Model(library.Tipsv2Config(**towers))
        self.vision_model, self.text_model, self.temperature = model.vision_model, model.text_model, model.temperature

    @property
    def visual(self) -> nn.Module:
        return self.vision_model

    @property
    def text(self) -> nn.Module:
        return self.text_model

    @property
    def context_length(self) -> int:
        return self.text_model.config.max_position_embeddings

    def encode_image(self, images: Tensor) -> Tensor:
        return self.vision_model(pixel_values=images).pooler_output

    def encode_text(self, tokens: Tensor) -> Tensor:
        mask = (tokens != self.text_model.config.pad_token_id).long()
        return self.text_model(input_ids=tokens, attention_mask=mask).pooler_output
