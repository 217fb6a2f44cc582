"""ProxyCLIP equals its released code, and what it adds to it is defined."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from helper import random_features, tiny_helper, with_text
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from naclip_bench.errors import BenchError
from naclip_bench.helpers import Look
from naclip_bench.methods.proxyclip import proxy_attention

pytestmark = pytest.mark.numeric

STORED = golden('proxyclip.npz')


def build(class_names='voc21', **settings):
    backbone = dict(arch=TINY, pretrained=None)
    return MODELS.build(
        dict(dict(type='ProxyCLIP', class_names=class_names, backbone=backbone, helper=tiny_helper()), **settings)
    )


@torch.no_grad()
@pytest.mark.parametrize(('side', 'every', 'rows', 'patches'), [(224, 7, 232, 28), (336, 11, 360, 44)])
def test_a_window_is_the_released_one(side, every, rows, patches):
    model, stored = build(), f'window/dino8/{side}x{side}/'
    tokens, trunk = model.window_tokens(random_image(side, side))
    features = model.seen(trunk, 'helper', 'tokens')
    assert largest_difference(features[0].flatten(1).T[::patches], STORED[f'{stored}helper[::{patches}]']) < 1e-5
    assert largest_difference(proxy_attention(features, 1.2, 3)[0, ::rows], STORED[f'{stored}attn[::{rows}]']) < 1e-6
    assert largest_difference(tokens[0, 1::every], STORED[f'{stored}tokens[:,::{every}]']) < 2e-5


class Grid(Look):
    def __init__(self, features):
        self.known = features

    def features(self, kind='tokens'):
        return self.known


@torch.no_grad()
@pytest.mark.parametrize('case', [key for key in STORED if key.startswith('attention/') and 'tokens' in key])
def test_other_grids_are_the_released_ones(case):
    """Grids that are no multiple of CLIP's, other constants, and a rectangle as it should be."""
    _, grid, window, constants, tokens = case.split('/')
    beta, gamma = (float(part.strip('betagm')) for part in constants.split('-'))
    model = build(beta=beta, gamma=gamma)
    image = random_image(*map(int, window.split('x')))
    trunk = model.backbone.trunks(image, [model.need])[0]
    features = random_features(96, *map(int, grid.removeprefix('rect-').removeprefix('grid').split('x')))
    trunk.of_images[model.helper] = Grid(features)
    every = int(tokens.rstrip(']').rsplit(':', 1)[1])
    assert largest_difference(model.dense_tokens(trunk)[0, 1::every], STORED[case]) < 2e-5


@pytest.mark.parametrize(
    ('case', 'names', 'image', 'size', 'settings'),
    [
        (
            'voc21/x1-at250x333/scale40-thd0.2',
            'proxyclip_voc21',
            (336, 448),
            (250, 333),
            dict(window=336, prob_thd=0.2),
        ),
        (
            'voc21-spread/x1-at250x333/scale40-thd0.2',
            'proxyclip_voc21',
            (336, 448),
            (250, 333),
            dict(window=336, prob_thd=0.2),
        ),
        ('city/x2-at375x558/crop224', 'cityscapes', (336, 500), (375, 558), dict(window=224)),
    ],
)
def test_whole_prediction(case, names, image, size, settings):
    stored = {key.removeprefix(f'predict/{case}/'): value for key, value in STORED.items() if f'/{case}/' in key}
    model = build(names, **settings)
    if 'spread' not in case:
        assert largest_difference(model.text.vectors, stored['query_features']) < 1e-6
    with_text(model, stored['query_features'])
    samples = [SegDataSample(metainfo=dict(ori_shape=size))]
    image = random_image(*image)[0]
    logits = model([image], samples, mode='tensor')[0][:, ::25, ::25]
    # A similarity that is 0 but for rounding is seen by one of the two alone: that of one patch in these images, whose
    # logits reach, drawn between patches, two of the stored pixels each way.
    away = (logits - stored['seg_logits[:,::25,::25]']).abs().amax(0).flatten()
    assert (away > 2e-5).sum() <= 4
    assert away.max() < 1e-3
    labels = model([image], samples, mode='predict')[0].pred_sem_seg.data[0]
    assert (labels == stored['pred']).float().mean() >= 0.9999


def test_only_what_is_alike_is_seen():
    features = random_features(8, 4, 6)
    unit = torch.nn.functional.normalize(features.flatten(2)[0], dim=0).double()
    alike = unit.T @ unit
    scores = ((alike - 1.2 * alike.mean()) * 3).exp() * (alike >= 1.2 * alike.mean())
    assert largest_difference(proxy_attention(features, 1.2, 3)[0], scores / scores.sum(-1, keepdim=True)) < 1e-6


def test_uniform_windows_see_themselves():
    """The released code gives NaN there; the window beside it is none the worse."""
    uniform, other = torch.ones(1, 8, 4, 6), random_features(8, 4, 6)
    weights = proxy_attention(torch.cat([uniform, other]), 1.2, 3)
    assert torch.equal(weights[0], torch.eye(24))
    assert largest_difference(weights[1], proxy_attention(other, 1.2, 3)[0]) < 1e-6


@torch.no_grad()
def test_the_attention_told_is_on_clips_grid():
    """A helper with CLIP's grid: its own attention, which gathers what the tokens are made of."""
    model = build(helper=tiny_helper(16))
    tokens, trunk = model.window_tokens(random_image(96, 144))
    weights = model.attention_weights(trunk)
    expected = proxy_attention(model.seen(trunk, 'helper', 'tokens'), 1.2, 3)
    assert largest_difference(weights[:, 0, 1:, 1:], expected) < 1e-6
    block = model.backbone.blocks[-1]
    out = model.backbone.head(block.output(weights @ block.qkv(trunk.tokens)[2]))
    assert largest_difference(out[:, 1:], tokens[:, 1:]) < 1e-5


def test_a_helper_is_needed():
    with pytest.raises(BenchError, match=r"model.helper.type is 'Vit', which is no helper; did you mean \"ViT\""):
        build(helper=dict(type='Vit'))
