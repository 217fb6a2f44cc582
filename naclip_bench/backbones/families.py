"""The families of backbones: what each offers to methods, and which encoders cannot be one, and why.

Every backbone has a grid of patches and a last attention whose queries, keys and values can be had one by one. What
else a method may ask for is named here; a method declares what it needs by these names, and fits where all of it is
offered.
Nothing here imports torch, and nothing is built: the model config alone tells the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import BenchError

#: The first token becomes the image embedding by the head that patches go through too.
CLS = 'a [CLS] token'
#: Patches attend to each other in the last attention as it was trained; else one query gathers them all.
SELF_ATTENTION = 'self-attention of patches'
#: Residuals and a feed-forward network stand around the last attention.
RESIDUALS = 'residuals'
#: Transformer blocks come before the last attention.
INNER_BLOCKS = 'inner blocks'

#: All of it: what CLIP's own vision transformer offers.
EVERYTHING = frozenset({CLS, SELF_ATTENTION, RESIDUALS, INNER_BLOCKS})


@dataclass(frozen=True)
class Family:
    """Encoders that are taken apart in one way.

    Attributes:
        title: its short name.
        models: open_clip's architectures, in words.
        offers: what methods may ask for, of :data:`EVERYTHING`.
    """

    title: str
    models: str
    offers: frozenset[str]


FAMILIES: dict[str, Family] = {
    'clip': Family(
        'CLIP',
        'ViT-*: OpenAI, LAION-2B, DataComp, DFN (also ViT-H-14-378), MetaCLIP 1 and 2 (worldwide)',
        EVERYTHING,
    ),
    'clipa': Family(
        'CLIPA',
        'ViT-*-CLIPA*; the mean of patches is the image',
        EVERYTHING - {CLS},
    ),
    'siglip': Family(
        'SigLIP',
        'ViT-*-SigLIP*, SigLIP2*; attention-pooled, no [CLS]',
        EVERYTHING - {CLS},
    ),
    'eva': Family(
        'EVA-CLIP',
        'EVA01-*, EVA02-*; rotary positions in EVA02',
        EVERYTHING,
    ),
    'pe': Family(
        'PE-Core',
        'PE-Core-*; rotary positions, attention-pooled',
        EVERYTHING - {CLS},
    ),
    'mobileclip': Family(
        'MobileCLIP',
        'MobileCLIP-B, MobileCLIP2-B, MobileCLIP2-L-14, and other ViTs of timm with [CLS]',
        EVERYTHING,
    ),
    'tips': Family(
        'TIPSv2',
        'google/tipsv2-* of transformers; a second [CLS] beside the first',
        EVERYTHING,
    ),
    'resnet': Family(
        'ResNet',
        'RN50, RN101, RN50x4, ...; the mean of patches asks the attention pool',
        frozenset({CLS}),
    ),
}

#: The key of a model config under which transformers' own stands.
TIPS = 'tipsv2'

#: Names of timm's models by how they begin, and why they cannot be a backbone.
REFUSED = {
    'vitamin': 'ViTamin (two stages of convolutions, which see beyond a patch, come before its blocks)',
    'fastvit': 'MobileCLIP-S (FastViT pools a map of convolutions, there are no tokens to take apart)',
    'convnext': 'ConvNeXt (it pools a map of convolutions, there are no tokens to take apart)',
    'swin': 'Swin (its attention sees a window of patches at a time)',
}

COCA = 'CoCa (its image is pooled by queries of their own, so that patches have no place in the space shared with text)'


def family_of(name: str, config: Mapping) -> Family:
    """Tell the family of an open_clip model config.

    Args:
        name: what messages call the model.
        config: its open_clip model config.

    Raises:
        BenchError: it cannot be a backbone; says why, and what can.
    """
    if TIPS in config:
        return FAMILIES['tips']
    vision = config['vision_cfg'] if isinstance(config['vision_cfg'], Mapping) else {}
    timm, pool = vision.get('timm_model_name'), vision.get('timm_pool', 'avg')
    if 'multimodal_cfg' in config or vision.get('attentional_pool'):
        raise _refusal(name, COCA)
    if not timm:
        if isinstance(vision.get('layers'), list | tuple):
            return FAMILIES['resnet']
        return FAMILIES['clip' if vision.get('pool_type', 'tok') == 'tok' else 'clipa']
    for begin, why in REFUSED.items():
        if timm.startswith(begin):
            raise _refusal(name, why)
    if timm.startswith('vit_pe_core') and pool == 'map':
        return FAMILIES['pe']
    if timm.startswith('eva') and pool == 'token':
        return FAMILIES['eva']
    if timm.startswith('vit_') and pool in ('token', 'map'):
        return FAMILIES['mobileclip' if pool == 'token' else 'siglip']
    raise _refusal(name, f'timm\'s {timm} with the pooling "{pool}"')


def _refusal(name: str, why: str) -> BenchError:
    families = ', '.join(family.title for family in FAMILIES.values())
    return BenchError(f'arch: {name} is no backbone: {why}; there are {families}: naclip-bench list backbones')
