"""Which CLIP, with which weights; always with a hash of what was really loaded, and the colors it was trained with."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import Identity

from ..errors import BenchError
from .checkpoint import read_checkpoint
from .colors import OPENAI, Colors, colors_of_architecture, parse_colors
from .sources import Architecture, find_architecture, find_weights


@dataclass(frozen=True)
class LoadedCLIP:
    model: CLIP
    arch: str  #: open_clip's name, or ``custom-<hash>`` for a config of one's own
    name: str  #: the tag, the file's or folder's name, or ``random``
    sha256: str  #: of all parameters in float32
    quick_gelu: bool
    random_weights: bool
    colors: Colors  #: mean and deviation in 0..1


def load_clip(
    arch: str | Mapping, pretrained: str | None, colors: str | Sequence[float | Sequence[float]] | None = None
) -> LoadedCLIP:
    """Build a CLIP of ``arch`` and fill it with ``pretrained``; see :class:`FrozenCLIP` for all three.

        load_clip('ViT-B-16-quickgelu', 'openai').sha256

    Raises:
        BenchError: unknown architecture or tag, weights that cannot be had, are not finite or of another architecture,
            or colors that cannot be known.
    """
    asked_colors = None if colors is None else parse_colors(colors)
    architecture = find_architecture(arch)
    model = _build(architecture)
    if pretrained is None:
        name, state, known_colors = 'random', random_weights(model.state_dict()), architecture.colors or OPENAI
    else:
        source = find_weights(str(pretrained), architecture)
        name, checkpoint = source.name, read_checkpoint(source.path)
        if checkpoint.openai and not architecture.quick_gelu:
            raise BenchError(
                f"pretrained: {name} is an archive of OpenAI's, trained with QuickGELU; {architecture.other_activation}"
            )
        state = _fitted(checkpoint.state, model, architecture, name)
        known_colors = source.colors or (OPENAI if checkpoint.openai else architecture.colors)
    state = {key: value.float().contiguous() for key, value in state.items()}
    check_finite(state, name)
    found_colors = asked_colors or known_colors or colors_of_architecture(architecture.name, architecture.config, name)
    model.load_state_dict(state, assign=True)
    random = pretrained is None
    return LoadedCLIP(
        model, architecture.name, name, weights_hash(state), architecture.quick_gelu, random, found_colors
    )


def parameters_of(architecture: Architecture) -> int:
    """Count the parameters of an architecture, without its weights."""
    return sum(parameter.numel() for parameter in _build(architecture).parameters())


def random_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a CLIP of any size with no download: each parameter drawn from the crc32 of its name.

    They mean nothing, but they are the same everywhere, differ from token to token, and keep activations in the range
    of a trained CLIP's; the golden vectors of the tests were computed with them.
    """
    return {name: _random_weight(name, tuple(value.shape)) for name, value in state.items()}


def _random_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    *parents, last = name.split('.')
    if last == 'logit_scale':
        return torch.tensor(4.6052)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if parents and parents[-1].startswith('ln_'):
        return 1 + 0.1 * noise if last == 'weight' else 0.05 * noise
    if last in ('bias', 'in_proj_bias'):
        return 0.05 * noise
    if last == 'class_embedding':
        return 0.2 * noise
    if last == 'positional_embedding':
        return (0.2 if parents else 0.05) * noise
    if 'token_embedding' in parents:
        return 0.1 * noise
    if 'conv1' in parents:
        return 0.03 * noise
    if last in ('proj', 'text_projection'):
        return noise * shape[0] ** -0.5
    if last == 'in_proj_weight':
        return 1.6 * noise * shape[1] ** -0.5
    return noise * shape[-1] ** -0.5


def _build(architecture: Architecture) -> CLIP:
    """open_clip's model, its parameters yet without values."""
    plain = (
        f'arch: "{architecture.name}" has no plain CLIP vision transformer and text tower; '
        'use one such as ViT-B-16-quickgelu'
    )
    try:
        with torch.device('meta'):
            model = CLIP(**architecture.config)
    except Exception as error:  # open_clip checks no config: whatever comes of its values
        raise BenchError(f'{plain} ({" ".join(str(error).split())})') from None
    model.attn_mask = None  # a buffer outside the state dict; FrozenCLIP masks by itself
    if not _is_plain(model, architecture.config):
        raise BenchError(plain)
    return model


def _is_plain(model: CLIP, config: Mapping) -> bool:
    """Both towers are OpenAI's kind: what the blocks and the text tower of :class:`FrozenCLIP` compute."""
    visual, text = model.visual, config['text_cfg']
    blocks = [*getattr(getattr(visual, 'transformer', None), 'resblocks', [None]), *model.transformer.resblocks]
    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == 'tok'
        and all(type(block) is ResidualAttentionBlock and isinstance(block.ls_1, Identity) for block in blocks)
        and model.text_pool_type == 'argmax'
        and not any(text.get(key) for key in ('hf_tokenizer_name', 'no_causal_mask', 'embed_cls'))
    )


def _fitted(state: Mapping[str, Tensor], model: CLIP, architecture: Architecture, name: str) -> dict[str, Tensor]:
    """The state dict, if it is of the model's shape; a logit scale of shape (1,) is as good as one of ()."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    scale = state.get('logit_scale')
    if scale is not None and scale.numel() == 1:
        state = {**state, 'logit_scale': scale.reshape(expected['logit_scale'])}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if expected == found:
        return dict(state)
    raise BenchError(f'pretrained: {name} {_difference(expected, found, architecture)}')


def _difference(expected: Mapping[str, tuple], found: Mapping[str, tuple], architecture: Architecture) -> str:
    """What is wrong with the shapes of a state dict, and how to mend it."""
    wrong = [key for key, shape in expected.items() if found.get(key, shape) != shape]
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    if unknown == ['logit_bias']:
        return (
            'has a logit_bias: it was trained with a sigmoid of each pair (SigLIP), not with the softmax over classes '
            'that is used here; to try it all the same, set init_logit_bias to 0 in the model config of arch'
        )
    towers = [any(key.endswith(end) for key in found) for end in ('conv1.weight', 'token_embedding.weight')]
    if towers == [True, False]:
        return (
            'holds the vision tower alone, and class names need the text tower that it was trained with: take the '
            'state dict of the CLIP that training began with, update it with these weights (named visual.*), save it'
        )
    positions = 'visual.positional_embedding'
    if wrong == [positions] and not missing and not unknown and found[positions][-1] == expected[positions][-1]:
        patch = architecture.config['vision_cfg']['patch_size']
        here, there = (math.sqrt(shapes[positions][0] - 1) for shapes in (expected, found))
        return (
            f'has positions of {there:g} x {there:g} patches, {architecture.name} of {here:g} x {here:g}: set '
            f'model.backbone.arch to a model config of your own, that of {architecture.name} with '
            f'vision_cfg.image_size {patch * there:g} (docs/weights.md shows how)'
        )
    faults = [f'{key} is {found[key]}, not {expected[key]}' for key in wrong]
    faults += [f'{key} is missing' for key in missing] + [f'{key} is unknown' for key in unknown]
    return (
        f'holds the weights of another architecture than {architecture.name}{_guess(found)}: '
        f'{faults[0]}{f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""}; set model.backbone.arch'
    )


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise BenchError(
            f'pretrained: {name} holds values that are not finite (NaN or infinite) in {broken[0]}'
            f'{f" and {len(broken) - 1} more" if len(broken) > 1 else ""}; take the weights of an earlier step'
        )


def _guess(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What the shapes of a state dict say about its architecture."""
    patches = shapes.get('visual.conv1.weight')
    if patches is None or len(patches) != 4:
        return ''
    layers = {key.split('.')[3] for key in shapes if key.startswith('visual.transformer.resblocks.')}
    return f' (they look like a vision transformer of {len(layers)} blocks x {patches[0]}, patch {patches[2]})'


def weights_hash(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(f'{key}{tuple(state[key].shape)}'.encode())
        digest.update(state[key].detach().numpy())
    return digest.hexdigest()
