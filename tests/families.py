"""A small model of each family of backbones, built of the library's own classes, with random weights."""

from __future__ import annotations

from functools import partial

import open_clip
import pytest
from open_clip.model import CLIP, CustomTextCLIP
from timm.layers import HybridEmbed, LayerNorm
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from torch.nn import GELU

from naclip_bench.backbones.towers.tips import TipsModel
from naclip_bench.backbones.weights import random_weights

#: Twelve blocks, as methods choose blocks by their number.
SIZES = dict(img_size=64, patch_size=16, embed_dim=48, depth=12, num_heads=2)
TEXT = dict(context_length=77, vocab_size=49408, width=32, heads=1, layers=1)


def built(kind, arguments):
    """One of timm's models without what its factory says of downloads."""
    beside = ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir')
    model = kind(**{name: value for name, value in arguments.items() if name not in beside})
    model.default_cfg = {}
    return model


@register_model
def vit_tiny_siglip(pretrained=False, **kwargs):
    return built(VisionTransformer, dict(SIZES, class_token=False, global_pool='map') | kwargs)


@register_model
def vit_tiny_registers(pretrained=False, **kwargs):
    more = dict(reg_tokens=2, no_embed_class=True, init_values=0.1, pre_norm=True, act_layer='gelu_tanh', qk_norm=True)
    return built(VisionTransformer, SIZES | more | kwargs)


@register_model
def vit_tiny_stem(pretrained=False, **kwargs):
    stem = ConvStem(channels=(8, 8, 48), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=GELU)
    more = dict(patch_size=1, embed_layer=partial(HybridEmbed, backbone=stem, proj=False), no_embed_class=True)
    return built(VisionTransformer, SIZES | more | kwargs)


@register_model
def eva_tiny_01(pretrained=False, **kwargs):
    return built(Eva, SIZES | kwargs)


@register_model
def eva_tiny_02(pretrained=False, **kwargs):
    more = dict(
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(3, 3),
    )
    return built(Eva, SIZES | more | kwargs)


@register_model
def eva_tiny_post_norm(pretrained=False, **kwargs):
    # Fewer blocks, as rounding grows from one to the next.
    return built(Eva, SIZES | dict(use_post_norm=True, depth=4) | kwargs)


@register_model
def vit_pe_core_tiny(pretrained=False, **kwargs):
    more = dict(
        attn_type='rope',
        use_pre_transformer_norm=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(4, 4),
        rope_grid_offset=1.0,
        rope_grid_indexing='xy',
        attn_pool_num_heads=4,
        attn_pool_mlp_ratio=4.0,
        norm_layer=partial(LayerNorm, eps=1e-5),
    )
    return built(Eva, SIZES | more | kwargs)


@register_model
def vit_pe_core_tiny_without_cls(pretrained=False, **kwargs):
    return vit_pe_core_tiny(class_token=False, **kwargs)


def own(**vision):
    """An open_clip vision transformer."""
    sizes = dict(image_size=64, layers=12, width=48, head_width=24, patch_size=16)
    return dict(embed_dim=32, vision_cfg={**sizes, **vision}, text_cfg=TEXT)


def timm(name, pool, text=TEXT, **more):
    """An open_clip model around one of timm's."""
    vision = dict(image_size=64, timm_model_name=name, timm_pool=pool, timm_proj=None)
    return dict(embed_dim=32, vision_cfg={**vision, **more}, text_cfg=text, custom_text=True)


SIGLIP_TEXT = dict(
    TEXT,
    context_length=16,
    no_causal_mask=True,
    proj_bias=True,
    pool_type='last',
    norm_kwargs={'eps': 1e-6},
    act_kwargs={'approximate': 'tanh'},
)

#: An open_clip model config by what is particular about it; the first of a family has its name.
CONFIGS = {
    'clip': own(),
    'clip, quick_gelu': {**own(patch_size=8), 'quick_gelu': True},
    'clip, layer scale': own(ls_init_value=0.1, norm_kwargs={'eps': 1e-3}, act_kwargs={'approximate': 'tanh'}),
    'clip, end of text by its id': {**own(), 'text_cfg': dict(TEXT, pool_type='eos', eos_id=49407)},
    'clipa': own(no_ln_pre=True, pool_type='avg', final_ln_after_pool=True),
    'clipa, norm before the mean': {
        **own(pool_type='avg'),
        'text_cfg': dict(TEXT, pool_type='last', no_causal_mask=True),
    },
    'siglip': {
        **timm('vit_tiny_siglip', 'map', SIGLIP_TEXT, timm_proj='none'),
        'embed_dim': 48,
        'init_logit_bias': -10,
    },
    'eva': timm('eva_tiny_02', 'token'),
    'eva, 01': timm('eva_tiny_01', 'token'),
    'eva, post norm': timm('eva_tiny_post_norm', 'token'),
    'pe': timm('vit_pe_core_tiny', 'map', dict(TEXT, context_length=32)),
    'pe, without [CLS]': timm('vit_pe_core_tiny_without_cls', 'map'),
    'mobileclip': timm('vit_tiny_stem', 'token', dict(TEXT, no_causal_mask=True)),
    'mobileclip, registers': timm('vit_tiny_registers', 'token', timm_proj='linear'),
    'tips': dict(
        model_type='tipsv2',
        vision_config=dict(
            hidden_size=48, num_hidden_layers=12, num_attention_heads=2, image_size=64, patch_size=16, mlp_ratio=2
        ),
        text_config=dict(
            vocab_size=49408, hidden_size=48, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2
        ),
        text_cfg=dict(hf_tokenizer_name=None),
    ),
    'resnet': dict(
        embed_dim=32,
        vision_cfg=dict(image_size=96, layers=[1, 1, 1, 1], width=8, head_width=32),
        text_cfg=TEXT,
    ),
}


def skip_where_missing(config):
    """TIPSv2 came with transformers 5.24; the rest needs no library that may be too old."""
    if config.get('model_type') == 'tipsv2':
        pytest.importorskip('transformers.models.tipsv2')


def library_model(config):
    """The library's own model with the weights that a backbone of that config has."""
    if config.get('model_type') == 'tipsv2':
        model = TipsModel(config)
    else:
        settings = {key: value for key, value in config.items() if key != 'custom_text'}
        model = (CustomTextCLIP if config.get('custom_text') else CLIP)(**settings)
    model.load_state_dict(random_weights(model.state_dict()))
    return model.eval().requires_grad_(False)


def side_of(config):
    """The side in pixels of the images that a model of that config was made for."""
    return config['vision_config' if 'vision_config' in config else 'vision_cfg']['image_size']


def tokens_of(texts, config):
    """Token ids by OpenAI's vocabulary, whatever the model's own would be."""
    return open_clip.SimpleTokenizer(context_length=config['text_cfg'].get('context_length', 64))(texts)
