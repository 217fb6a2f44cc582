"""The names that the library ``transformers`` gives a CLIP's parameters, turned into open_clip's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

#: How names begin, here and there.
BEGINNINGS = {
    'vision_model.embeddings.class_embedding': 'visual.class_embedding',
    'vision_model.embeddings.patch_embedding.': 'visual.conv1.',
    'vision_model.embeddings.position_embedding.weight': 'visual.positional_embedding',
    'vision_model.pre_layrnorm.': 'visual.ln_pre.',  # their spelling
    'vision_model.encoder.layers.': 'visual.transformer.resblocks.',
    'vision_model.post_layernorm.': 'visual.ln_post.',
    'visual_projection.weight': 'visual.proj',
    'text_model.embeddings.token_embedding.': 'token_embedding.',
    'text_model.embeddings.position_embedding.weight': 'positional_embedding',
    'text_model.encoder.layers.': 'transformer.resblocks.',
    'text_model.final_layer_norm.': 'ln_final.',
    'text_projection.weight': 'text_projection',
}

#: Parts of a block.
PARTS = {
    '.layer_norm1.': '.ln_1.',
    '.layer_norm2.': '.ln_2.',
    '.self_attn.': '.attn.',
    '.mlp.fc1.': '.mlp.c_fc.',
    '.mlp.fc2.': '.mlp.c_proj.',
}

#: Linear layers there, matrices that are multiplied from the right here.
TRANSPOSED = ('visual_projection.weight', 'text_projection.weight')


def has_transformers_names(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith(('vision_model.', 'text_model.')) for key in state)


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of ``transformers.CLIPModel``, or a part of one, into open_clip's; other names stay."""
    converted = {_name(key): value.T if key in TRANSPOSED else value for key, value in state.items()}
    # Query, key and value are one layer in open_clip.
    for query in [key for key in converted if '.attn.q_proj.' in key]:
        three = [query.replace('.q_proj.', f'.{part}_proj.') for part in 'qkv']
        if all(key in converted for key in three):
            converted[query.replace('.q_proj.', '.in_proj_')] = torch.cat([converted.pop(key) for key in three])
    return converted


def _name(key: str) -> str:
    for theirs, ours in BEGINNINGS.items():
        if key.startswith(theirs):
            key = ours + key.removeprefix(theirs)
            break
    for theirs, ours in PARTS.items():
        key = key.replace(theirs, ours)
    return key
