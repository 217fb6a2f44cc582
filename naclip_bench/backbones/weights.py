"""Which CLIP, with which weights; always with a hash of what was really loaded, and the colors it was trained with."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict
from torch import Tensor, nn

from ..errors import BenchError
from .checkpoint import read_checkpoint
from .colors import OPENAI, Colors, colors_of_architecture, parse_colors
from .described import Description, described_device
from .families import TIPS, Family, family_of
from .sources import FOLDER, Architecture, find_architecture, find_weights
from .tokenizing import Tokenizer, tokenizer_of
from .towers import Tower, kind_of, tower_of
from .towers.tips import TipsModel

#: Last names of parameters that are tokens and positions of a vision tower.
EMBEDDINGS = (
    'class_embedding',
    'cls_token',
    'reg_token',
    'register_tokens',
    'pos_embed',
    'position_embeddings',
    'latent',
)


@dataclass(frozen=True)
class LoadedCLIP:
    model: CLIP | CustomTextCLIP
    family: Family
    tokenizer: Tokenizer
    arch: str  #: open_clip's name, or ``custom-<hash>`` for a config of one's own
    name: str  #: the tag, the file's or folder's name, or ``random``
    sha256: str  #: of all parameters in float32
    random_weights: bool
    colors: Colors  #: mean and deviation in 0..1
    described: torch.device | None = None  #: where a model without values is said to be; see :mod:`.described`


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
    family, model = family_of(architecture.name, architecture.config), _build(architecture)
    tokenizer = tokenizer_of(architecture.config['text_cfg'], _folder_of(architecture))
    source = None if pretrained is None else find_weights(str(pretrained), architecture)
    name, device, description = source.name if source else 'random', described_device(), None
    if device is not None and TIPS not in architecture.config:
        known_before = source and source.colors, architecture.colors
        description = Description(source and source.path, architecture, name, known_before, asked_colors)
        known = description.read()
        if known is not None:
            found_colors = tuple(map(tuple, known['colors']))
            about = architecture.name, name, known['sha256'], source is None, found_colors, device
            return LoadedCLIP(model, family, tokenizer, *about)
    if source is None:
        state, known_colors = random_weights(model.state_dict()), architecture.colors or OPENAI
    else:
        checkpoint = read_checkpoint(source.path, TIPS in architecture.config)
        if checkpoint.openai and not architecture.quick_gelu:
            raise BenchError(
                f"pretrained: {name} is an archive of OpenAI's, trained with QuickGELU; {architecture.other_activation}"
            )
        state = _fitted(checkpoint.state, model, architecture, name)
        known_colors = source.colors or (OPENAI if checkpoint.openai else architecture.colors)
    state = {key: (value.float() if value.is_floating_point() else value).contiguous() for key, value in state.items()}
    check_finite(state, name)
    found_colors = asked_colors or known_colors or colors_of_architecture(architecture.name, architecture.config, name)
    model.load_state_dict(state, assign=True)
    _fill_buffers(model)
    sha256 = weights_hash(state)
    if description:
        description.keep(sha256=sha256, colors=found_colors)
    return LoadedCLIP(model, family, tokenizer, architecture.name, name, sha256, source is None, found_colors)


def costs_of(architecture: Architecture) -> tuple[int, Tower]:
    """Count the parameters of an architecture, and take its vision tower apart, without its weights."""
    model = _build(architecture)
    return sum(parameter.numel() for parameter in model.parameters()), tower_of(model.visual)


def random_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a CLIP of any size with no download: each parameter drawn from the crc32 of its name.

    They mean nothing, but they are the same everywhere, differ from token to token, and keep activations in the range
    of a trained CLIP's; the golden vectors of the tests were computed with them.
    """
    return {name: _random_weight(name, tuple(value.shape)) for name, value in state.items()}


def _random_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    *parents, last = name.split('.')
    if last in ('logit_scale', 'logit_bias'):
        return torch.full(shape, 4.6052 if last == 'logit_scale' else -10.0)
    if last == 'temperature':
        return torch.full(shape, 0.01)
    if last == 'num_batches_tracked':
        return torch.tensor(0)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if parents and parents[-1].startswith('ln_'):
        return 1 + 0.1 * noise if last == 'weight' else 0.05 * noise
    if last in ('bias', 'in_proj_bias', 'q_bias', 'v_bias', 'running_mean'):
        return 0.05 * noise
    if last == 'running_var':
        return 1 + 0.1 * noise.abs()
    if last in EMBEDDINGS:
        return 0.2 * noise
    if len(shape) == 1:  # norms and layer scales
        return 1 + 0.1 * noise
    if last == 'positional_embedding':
        return (0.2 if parents else 0.05) * noise
    if 'token_embedding' in parents:
        return 0.1 * noise
    if 'conv1' in parents:
        return 0.03 * noise
    if len(shape) == 4:
        return noise * math.prod(shape[1:]) ** -0.5
    if last in ('proj', 'text_projection'):
        return noise * shape[0] ** -0.5
    if last == 'in_proj_weight':
        return 1.6 * noise * shape[1] ** -0.5
    return noise * shape[-1] ** -0.5


def _build(architecture: Architecture) -> CLIP | CustomTextCLIP:
    """open_clip's model, its parameters yet without values."""
    config = {key: value for key, value in architecture.config.items() if key != 'custom_text'}
    no_way = (
        f'arch: "{architecture.name}" has no vision and text tower that can be taken apart; use one such as ViT-B-16'
    )
    if config['text_cfg'].get('hf_model_name'):
        raise BenchError(f'{no_way} (its text tower is a model of transformers, with files of its own)')
    if TIPS in config:
        # Not without values: transformers computes buffers in between.
        return TipsModel(config[TIPS]).eval()
    try:
        config['vision_cfg'] = {**config['vision_cfg'], 'timm_model_pretrained': False}
        with torch.device('meta'):
            model = (CustomTextCLIP if architecture.config.get('custom_text') else CLIP)(**config)
    except Exception as error:  # open_clip checks no config: whatever comes of its values
        raise BenchError(f'{no_way} ({" ".join(str(error).split())})') from None
    if kind_of(model.visual) is None:
        raise BenchError(no_way)
    return model.eval()


def _fill_buffers(model: nn.Module) -> None:
    """Compute the buffers that are no weights and yet without values: what follows from sizes."""
    text = getattr(model, 'text', model)
    if getattr(text, 'attn_mask', None) is not None:
        text.attn_mask = torch.full(text.attn_mask.shape, -torch.inf).triu_(1)
    for module in model.visual.modules():
        empty = {name: buffer for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta}
        if empty:
            module._buffers.update({name: torch.empty_like(buffer, device='cpu') for name, buffer in empty.items()})
            module.init_non_persistent_buffers()


def _folder_of(architecture: Architecture) -> str | None:
    """The folder that a model came from, as open_clip saves its tokenizer there too."""
    place = (architecture.place or '').removeprefix(FOLDER)
    return place if Path(place, 'tokenizer_config.json').is_file() else None


def _fitted(state: Mapping[str, Tensor], model: CLIP, architecture: Architecture, name: str) -> dict[str, Tensor]:
    """The state dict, if it is of the model's shape; a logit scale of shape (1,) is as good as one of ()."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = convert_state_dict(model, state)
    if 'positional_embedding' in state and 'text.positional_embedding' in expected:
        state = convert_to_custom_text_state_dict(state)
    for scalar in ('logit_scale', 'logit_bias'):
        value = state.get(scalar)
        if value is not None and value.numel() == 1 and scalar in expected:
            state = {**state, scalar: value.reshape(expected[scalar])}
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
    if any(key.startswith('vision_model.head.') for key in found):
        return (
            "holds a SigLIP by transformers' names, of which CLIP's alone are read; take open_clip's weights of the "
            'same model: its tags, or its hf-hub: name'
        )
    towers = [
        any(key.endswith(end) for key in found)
        for end in (('conv1.weight', 'blocks.0.norm1.weight'), 'token_embedding.weight')
    ]
    if towers == [True, False]:
        return (
            'holds the vision tower alone, and class names need the text tower that it was trained with: take the '
            'state dict of the CLIP that training began with, update it with these weights (named visual.*), save it'
        )
    positions = 'visual.positional_embedding'
    if wrong == [positions] and not missing and not unknown and found[positions][-1] == expected[positions][-1]:
        patch = architecture.config['vision_cfg'].get('patch_size', 16)
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
