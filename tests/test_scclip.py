"""SC-CLIP: equal to its released code, and each step to the same told in loops or by hand."""

import numpy as np
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmseg.registry import MODELS

from naclip_bench.backbones import attend
from naclip_bench.errors import BenchError
from naclip_bench.methods.scclip import aggregated, outliers, repaired, similarity, similarity_attention

pytestmark = pytest.mark.numeric

OFF = dict(repair=False, aggregation=False, multi_level=False)


def build(arch=TINY, precision='fp32', **settings):
    backbone = dict(arch=arch, pretrained=None, precision=precision)
    return MODELS.build(dict(type='SCCLIP', class_names='voc20', backbone=backbone, **settings))


def deeper(layers):
    return dict(TINY, vision_cfg=dict(TINY['vision_cfg'], layers=layers))


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_tokens_are_the_released_ones():
    expected = golden('scclip.npz')['others/scclip/224x224']
    tokens, _ = build().window_tokens(random_image(224, 224))
    assert largest_difference(tokens[:, 1:], expected) < 1e-5


def outliers_in_loops(patches, neighbors):
    """Of one window: squared k-distances over those of the neighbors; the highest twentieth."""
    count = len(patches)
    squared = [[float(((a - b) ** 2).sum()) for b in patches] for a in patches]
    near = [sorted((j for j in range(count) if j != i), key=squared[i].__getitem__)[:neighbors] for i in range(count)]
    reach = [squared[i][near[i][-1]] for i in range(count)]
    factor = [sum(reach[i] / reach[j] for j in near[i]) / len(near[i]) for i in range(count)]
    order = sorted(factor)
    first = next(i for i in range(count) if order[i] > np.quantile(order, 0.95) * (1 + 1e-6))
    assert order[first] > order[first - 1] * 1.005, 'a case on the edge, where rounding decides'
    return {i for i in range(count) if factor[i] >= order[first]}


@pytest.mark.parametrize(('count', 'neighbors'), [(70, 30), (61, 30), (32, 30), (31, 15), (8, 4)])
def test_outliers_are_those_of_their_window(count, neighbors):
    patches = random(3, count, 5, seed=1)
    # Two: with one, and all others but one as neighbors, the two farthest apart of the rest would tie.
    patches[1, 4:6] *= 20
    patches[2] *= 100
    found = outliers(patches)
    for window, of_window in zip(patches, found, strict=True):
        assert set(of_window.nonzero().flatten().tolist()) == outliers_in_loops(window, neighbors)
    assert found.any(dim=1).all()
    assert found[1, 4]


def test_a_patch_alone_and_equal_patches_are_no_outliers():
    assert not outliers(random(2, 1, 5)).any()
    assert not outliers(random(2, 2, 5)).any()
    assert not outliers(torch.ones(2, 40, 5)).any()


def test_repair_takes_the_whole_neighbors_of_any_grid():
    grid = (3, 5)
    patches = torch.arange(15.0)[None, :, None].expand(2, 15, 4) ** 2
    broken = torch.zeros(2, 15, dtype=torch.bool)
    broken[0, [0, 7, 8]] = True
    out = repaired(patches, broken, grid)
    expected = patches.clone()
    for patch, whole in {0: [1, 5, 6], 7: [1, 2, 3, 6, 11, 12, 13], 8: [2, 3, 4, 9, 12, 13, 14]}.items():
        expected[0, patch] = patches[0, whole].mean(0)
    assert largest_difference(out, expected) < 1e-4
    # A corner of outliers: the one that none but outliers surround stays.
    broken[1, [0, 1, 5, 6]] = True
    out = repaired(patches, broken, grid)
    assert torch.equal(out[1, 0], patches[1, 0])
    assert not torch.equal(out[1, 1], patches[1, 1])


def test_aggregation_is_over_those_alike():
    patches = random(1, 3, 4)
    alike = torch.tensor([[[1.0, 0.5, 0.39], [0.5, 1.0, -0.9], [0.39, -0.9, 1.0]]])
    first, second, third = patches[0]
    expected = torch.stack([(first + 0.5 * second) / 1.5, (0.5 * first + second) / 1.5, third])
    assert largest_difference(aggregated(patches, alike)[0], expected) < 1e-5


def test_similarity_attention_sees_what_is_above_the_windows_mean():
    alike = similarity(random(2, 20, 6))
    weights = similarity_attention(alike)
    for window, of_window in zip(alike, weights, strict=True):
        assert torch.equal(of_window > 0, window >= window.mean())
        scores = (3 * window).exp() * (window >= window.mean())
        assert largest_difference(of_window, scores / scores.sum(-1, keepdim=True)) < 1e-6


def test_equal_patches_leave_no_row_empty():
    for seed in range(20):
        weights = similarity_attention(similarity(random(1, 1, 64, seed=seed).expand(1, 9, 64)))
        assert weights.sum(-1).allclose(torch.ones(1, 9))


@torch.no_grad()
def test_without_its_steps_it_is_k_k_attention_and_cls():
    model = build(**OFF)
    assert model.inner_outputs == ()
    tokens, trunk = model.window_tokens(random_image(64, 96))
    _, key, value = model.backbone.blocks[-1].qkv(trunk.tokens[:, 1:])
    out = model.backbone.blocks[-1].output(attend(key, key, value)) + 0.3 * trunk.tokens[:, :1]
    assert largest_difference(tokens[:, 1:], model.backbone.head(out)) < 1e-5
    assert largest_difference(tokens[:, :1], model.backbone.head(0.3 * trunk.tokens[:, :1])) < 1e-5


@torch.no_grad()
def test_every_step_counts_by_itself():
    tokens = [build(**OFF).window_tokens(random_image(96, 144))[0]]
    tokens += [build(**dict(OFF, **{step: True})).window_tokens(random_image(96, 144))[0] for step in OFF]
    for i, a in enumerate(tokens):
        assert a.shape == (1, 1 + 6 * 9, 64)
        for b in tokens[:i]:
            assert largest_difference(a[:, 1:], b[:, 1:]) > 1e-2


@torch.no_grad()
def test_the_attention_told_is_the_one_used():
    model = build(multi_level=False)
    tokens, trunk = model.window_tokens(random_image(96, 144))
    weights = model.attention_weights(trunk)
    assert weights.shape == (1, 2, 55, 55)
    assert not weights[:, :, 0].any()
    assert not weights[..., 0].any()
    block = model.backbone.blocks[-1]
    patches = torch.cat([trunk.tokens[:, :1], model.calibrated(trunk)[0]], dim=1)
    out = block.output(weights @ block.qkv(patches)[2]) + 0.3 * trunk.tokens[:, :1]
    out = aggregated(out[:, 1:], similarity(trunk.outputs[3][:, 1:]))
    assert largest_difference(model.backbone.head(out), tokens[:, 1:]) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_low_precision_is_near(precision):
    exact, _ = build().window_tokens(random_image(96, 144))
    rounded, _ = build(precision=precision).window_tokens(random_image(96, 144))
    assert torch.cosine_similarity(exact, rounded, dim=-1).min() > 0.995


def test_blocks_looked_at_follow_the_depth():
    assert build().inner_outputs == (3, 4, 5, 6, 7, 8, 9)
    assert build(multi_level=False).inner_outputs == (3, 8)
    model = build(deeper(24))
    assert (model.shallow, model.middle, model.levels) == (7, 17, [7, 9, 11, 13, 15, 17, 19])
    shallow = build(deeper(2))
    assert set(shallow.inner_outputs) == {0}
    assert shallow.window_tokens(random_image(48, 64))[0].isfinite().all()


@pytest.mark.parametrize('step', OFF)
def test_a_step_is_on_or_off(step):
    with pytest.raises(BenchError, match=rf"^SCCLIP\.{step} is 'yes'; it must be True or False$"):
        build(**{step: 'yes'})
