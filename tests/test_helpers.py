"""Helpers: weights from everywhere, features of every kind, shared by all that look, and known to the key."""

import numpy as np
import pytest
import timm
import torch
from golden import TINY, largest_difference, random_image
from helper import DINO8, DINO16, tiny_helper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from safetensors.torch import save_file
from torch.nn import functional as F

from naclip_bench.backbones.positions import interpolate_positions
from naclip_bench.configuration import load_config
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import OpenPass, Pass
from naclip_bench.helpers import ViT, build_helper
from naclip_bench.helpers.vit import ViTLook

RGB = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def vit(**settings):
    return build_helper(tiny_helper(**settings))


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize(
    ('arch', 'positions'),
    [
        (DINO8, 'dino'),
        ('vit_small_patch16_dinov3_qkvb', 'dino'),
        (dict(DINO8, reg_tokens=4, no_embed_class=True), 'dino'),
    ],
)
def test_on_the_trained_grid_it_is_timms_own_model(arch, positions):
    helper = vit(arch=arch, positions=positions)
    mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    captured = {}
    attention = helper.vit.blocks[-1].attn
    attention.register_forward_hook(lambda module, inputs, out: captured.update(inputs=inputs[0]))
    expected = helper.vit.forward_features((RGB - mean) / deviation)[:, helper.vit.num_prefix_tokens :]
    tokens = helper.features(RGB)
    assert tokens.shape[2] * tokens.shape[3] == expected.shape[1]
    assert largest_difference(tokens.flatten(2).transpose(1, 2), expected) < 2e-5
    bias = attention.qkv.bias
    if getattr(attention, 'q_bias', None) is not None:
        bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    projected = F.linear(captured['inputs'], attention.qkv.weight, bias)[:, helper.vit.num_prefix_tokens :]
    for kind, part in zip('qkv', projected.chunk(3, dim=-1), strict=True):
        assert largest_difference(helper.features(RGB, kind).flatten(2).transpose(1, 2), part) < 2e-5


@pytest.mark.parametrize('grid', [(42, 42), (28, 42), (14, 56), (28, 28)])
def test_positions_are_interpolated_as_dinos_own_code_does(grid):
    """Bicubic by (side + 0.1) / 28, whatever the number of patches: on 14 x 56 too, where CLIP's code leaves them."""
    embedding = torch.randn(1 + 28 * 28, 6, generator=torch.Generator().manual_seed(0))
    patches = embedding[1:].T.reshape(1, 6, 28, 28)
    scale = tuple((side + 0.1) / 28 for side in grid)
    expected = F.interpolate(patches, scale_factor=scale, mode='bicubic', align_corners=False)
    expected = patches if grid == (28, 28) else expected
    found = interpolate_positions(embedding, (28, 28), grid, 'dino')
    assert torch.equal(found[0], embedding[0])
    assert largest_difference(found[1:], expected.flatten(2)[0].T) < 1e-6


@torch.no_grad()
def test_an_image_of_no_whole_patches_is_resized():
    helper = vit()
    assert helper.features(RGB[..., :101, :75]).shape == (2, 96, 13, 9)
    resized = F.interpolate(RGB[..., :101, :75], size=(104, 72), mode='bilinear', align_corners=False)
    assert torch.equal(helper.features(RGB[..., :101, :75]), helper.features(resized))


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precision_is_close(precision):
    exact, half = (vit(precision=x).features(RGB[:1]) for x in ('fp32', precision))
    assert half.dtype == torch.float32
    assert 0 < largest_difference(exact, half) < 0.3


# ---- weights


def state_of(arch):
    return {key: value.clone().contiguous() for key, value in vit(arch=arch).vit.state_dict().items()}


def test_weights_from_files_are_the_same_whatever_the_file(tmp_path):
    expected, state = vit(), state_of(DINO8)
    save_file(state, tmp_path / 'dino.safetensors')
    torch.save({'state_dict': state, 'epoch': 3}, tmp_path / 'dino.pth')
    for name in ('dino.safetensors', 'dino.pth'):
        helper = vit(pretrained=str(tmp_path / name))
        assert (helper.weights_hash, helper.weights_name) == (expected.weights_hash, name)
        assert not helper.random_weights
    assert expected.random_weights
    assert expected.weights_name == 'random'


@torch.no_grad()
def test_weights_of_dinov2s_authors_are_read(tmp_path):
    arch = dict(DINO8, img_size=32, depth=1, init_values=1e-5)
    state = state_of(arch)
    torch.save({**state, 'mask_token': torch.zeros(1, 96)}, tmp_path / 'dinov2.pth')
    assert vit(arch=arch, pretrained=str(tmp_path / 'dinov2.pth')).weights_hash == vit(arch=arch).weights_hash
    with pytest.raises(BenchError, match='positions of 16 patches, the helper of 28 x 28'):
        vit(arch=dict(arch, img_size=224), pretrained=str(tmp_path / 'dinov2.pth'))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(arch='vit_base_patch8_2244'),
            'timm has no model "vit_base_patch8_2244"; did you mean "vit_base_patch8_224"',
        ),
        (dict(arch='resnet50'), 'is no plain vision transformer'),
        (dict(arch=dict(depht=3)), 'no plain vision transformer .*depht'),
        (dict(pretrained='nowhere.pth'), 'there is no file nowhere.pth'),
        (dict(arch='vit_base_patch8_224', pretrained='dyno'), '"dyno" is no tag of vit_base_patch8_224.*"dino"'),
        (dict(arch='vit_base_patch8_224', pretrained='dino'), 'weights "dino" of vit_base_patch8_224 cannot be had'),
        (dict(precision='fp8'), 'ViT.precision|model.helper.precision is .*"fp32"'),
        (dict(position='dino'), 'no setting model.helper.position; did you mean "positions"'),
    ],
)
def test_wrong_settings_are_one_line(settings, message):
    with pytest.raises(BenchError, match=message) as caught:
        vit(**settings)
    assert '\n' not in str(caught.value)


def test_weights_of_another_shape_are_refused(tmp_path):
    save_file(state_of(DINO16), tmp_path / 'other.safetensors')
    with pytest.raises(BenchError, match=r'another model than the helper: pos_embed is .*, not .*\(and 1 more\)'):
        vit(pretrained=str(tmp_path / 'other.safetensors'))
    state = state_of(DINO8)
    state['norm.weight'][0] = np.nan
    save_file(state, tmp_path / 'broken.safetensors')
    with pytest.raises(BenchError, match='not finite'):
        vit(pretrained=str(tmp_path / 'broken.safetensors'))


def test_what_a_helper_cannot_do_is_said():
    with pytest.raises(BenchError, match='the helper ViT gives no regions'):
        vit().regions(RGB[0])
    with pytest.raises(BenchError, match='no features "qq"; '):
        vit().features(RGB, 'qq')


def test_timm_knows_the_tags_of_the_docs():
    for name in ('vit_base_patch8_224.dino', 'vit_base_patch14_reg4_dinov2.lvd142m', 'vit_base_patch16_224.mae'):
        assert name in timm.list_pretrained(name)


# ---- sharing


def test_one_helper_and_one_look_for_all_that_ask(monkeypatch):
    """Methods, class names and kinds of features: the blocks of a window's helper run once."""
    members = {
        'voc21': dict(type='ProxyCLIP', class_names='voc21', helper=tiny_helper()),
        'voc20': dict(type='ProxyCLIP', class_names='voc20', helper=tiny_helper(positions='dino')),
        'sharper': dict(type='ProxyCLIP', class_names='voc20', helper=tiny_helper(), gamma=5),
        'other': dict(type='ProxyCLIP', class_names='voc20', helper=tiny_helper(16)),
        'naclip': dict(type='NACLIP', class_names='voc20'),
    }
    looks, computed = [], []
    look, kinds = ViT.look, ViTLook._computed
    monkeypatch.setattr(ViT, 'look', lambda self, images: looks.append(self.patch) or look(self, images))
    monkeypatch.setattr(ViTLook, '_computed', lambda self, kind: computed.append(kind) or kinds(self, kind))
    model = MODELS.build(dict(type='SideBySide', members=members, backbone=dict(arch=TINY, pretrained=None)))
    assert len({id(member.helper) for name, member in model.members.items() if name != 'naclip'}) == 2
    assert [member.random_weights for member in model.members.values()] == [True] * 5
    model.predict([random_image(224, 224)[0]], [SegDataSample(metainfo=dict(ori_shape=(50, 50)))])
    assert sorted(looks) == [8, 16]
    assert computed == ['tokens', 'tokens']


# ---- runs


def leaf_of(**helper):
    config = load_config('proxyclip_materials24')
    config.model.helper = tiny_helper(**helper)
    return Leaf('proxyclip_materials24', config)


def test_a_helper_is_part_of_the_key(tmp_path):
    save_file(state_of(DINO8), tmp_path / 'same.safetensors')
    leaves = [
        leaf_of(),
        leaf_of(pretrained=str(tmp_path / 'same.safetensors')),
        leaf_of(patch=16),
        leaf_of(positions='bicubic'),
        leaf_of(precision='bf16'),
    ]
    opened = OpenPass(Pass(leaves), Selection(limit=1))
    # The same weights from another file are the same.
    assert opened.keys[0] == opened.keys[1]
    assert len(set(opened.keys)) == 4
    parts = opened.parts[0]
    assert parts['helpers']['helper']['sha256'] == vit().weights_hash
    assert 'timm' in parts['versions']
    assert 'helper' not in parts['method']


@pytest.mark.parametrize(
    ('helper', 'message'),
    [
        (dict(type='ViTT'), "model.helper.type is 'ViTT', which is no helper"),
        (dict(presicion='fp16'), 'there is no setting model.helper.presicion; did you mean "precision"'),
        (dict(arch='vit_base_patch8_224', pretrained='dino'), 'weights "dino" of vit_base_patch8_224 cannot be had'),
    ],
)
def test_a_pass_is_checked_before_anything_is_built(helper, message):
    with pytest.raises(BenchError, match=message):
        Pass([leaf_of(**helper)]).check(Selection(limit=1))


def test_random_weights_are_those_of_helpers_too():
    config = load_config('corrclip_voc21', pretrained='none')
    assert [config.model[name].pretrained for name in ('backbone', 'helper', 'regions')] == [None] * 3
    assert load_config('corrclip_voc21', pretrained='openai').model.helper.pretrained == 'dino'
    own = load_config('corrclip_voc21', pretrained='none', cfg_options={'model.helper.pretrained': 'own.pt'})
    assert own.model.helper.pretrained == 'own.pt' and own.model.backbone.pretrained is None
