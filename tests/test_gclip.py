"""GCLIP against literal transcriptions of its equations; no code was released to compare with."""

import math

import pytest
import torch
from golden import TINY, largest_difference, random_image
from mmseg.registry import MODELS

from naclip_bench.backbones.weights import load_clip
from naclip_bench.errors import BenchError
from naclip_bench.methods.gclip import attention_map, emerging_maps, has_global_token, suppression

pytestmark = pytest.mark.numeric

#: On 4 x 6 patches, and with weights that mean nothing: what makes the blocks differ in eq. 2.
SIGMA = 4.5


def build(kind='GCLIP', precision='fp32', **settings):
    backbone = dict(arch=TINY, pretrained=None, precision=precision)
    return MODELS.build(dict(type=kind, class_names='voc20', backbone=backbone, **settings))


def windows(count=3):
    return torch.cat([random_image(64, 96, seed) for seed in range(count)])


def trunk_of(model, images):
    return model.backbone.trunk(images, model.shared_depth, model.inner_outputs)


# ---- the equations, one window at a time, in float64


def literal_global_token(maps, sigma):
    """Eq. 2 for the map (heads, T, T) of a block; nothing underflows on a few tokens in float64."""
    heads, tokens, _ = maps.shape
    maps = maps.tolist()
    products = []
    for key in range(1, tokens):
        product = 1.0
        for query in range(1, tokens):
            product *= sigma * sum(maps[head][query][key] for head in range(heads)) / heads
        products.append(product)
    return max(products) > 2**-24


def literal_emerging_block(maps, following, sigma):
    """Eq. 3 over the maps of blocks 0 .. f - 1."""
    candidates = [i for i in range(len(maps)) if following < len(maps) - i]
    passed = [i for i in candidates if literal_global_token(maps[i], sigma)]
    return min(passed, default=candidates[-1])


def literal_suppression(weight):
    """Eq. 6 to 9: a suppressed copy of a weight (D_out, D_in)."""
    norms = [math.sqrt(sum(x * x for x in row.tolist())) for row in weight]
    channel = norms.index(max(norms))
    mean = sum(norm for i, norm in enumerate(norms) if i != channel) / (len(norms) - 1)
    weight = weight.clone()
    weight[channel] = weight[channel] / norms[channel] * mean
    return weight


def literal(model, image):
    """Output tokens (T, embed_dim), attention (heads, T, T) and g of one window (1, 3, H, W), on open_clip's blocks."""
    following, start, sigma = model.fuse_following, model.suppress_from, model.sigma
    visual = load_clip(TINY, None).model.double().visual
    own, _ = model.backbone.embed(image)
    own = second = own.double()
    *blocks, final = visual.transformer.resblocks

    def gather(block, maps, tokens):
        width, side = tokens.shape[-1], tokens.shape[-1] // len(maps)
        value = block.ln_1(tokens)[0] @ block.attn.in_proj_weight[-width:].T + block.attn.in_proj_bias[-width:]
        heads = [maps[head] @ value[:, head * side : (head + 1) * side] for head in range(len(maps))]
        return block.attn.out_proj(torch.cat(heads, -1))[None]

    all_maps = []
    for index, block in enumerate(blocks):
        x = block.ln_1(own)
        all_maps.append(block.attn(x, x, x, need_weights=True, average_attn_weights=False)[1][0])
        mlp = block.mlp
        weight = mlp.c_proj.weight
        if start is not None and index >= start:
            weight = literal_suppression(weight)
        second = second + gather(block, all_maps[-1], second)
        second = second + mlp.gelu(mlp.c_fc(block.ln_2(second))) @ weight.T + mlp.c_proj.bias
        own = block(own)

    width, heads = own.shape[-1], final.attn.num_heads
    query = final.ln_1(own)[0] @ final.attn.in_proj_weight[:width].T + final.attn.in_proj_bias[:width]
    query = query.unflatten(-1, (heads, -1))
    attention = (torch.einsum('ihd,jhd->hij', query, query) / math.sqrt(query.shape[-1])).softmax(-1)
    emerging = None
    if following is not None:
        emerging = literal_emerging_block(all_maps, following, sigma)
        fused = all_maps[emerging : emerging + following + 1]
        if model.fused == 'cls':
            # The attention of [CLS], once for every token.
            fused = [torch.stack([block_map[:, 0]] * len(own[0]), dim=1) for block_map in fused]
        attention = (sum(fused) + attention) / (following + 2)
    tokens = visual.ln_post(gather(final, attention, second)) @ visual.proj
    return tokens[0], attention, emerging


@torch.no_grad()
@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(suppress_from=None),
        dict(fuse_following=None),
        dict(fuse_following=0, suppress_from=5),
        dict(fused='cls'),
        dict(fuse_following=4, suppress_from=10),
        dict(fuse_following=10, suppress_from=0),
        dict(fuse_following=None, suppress_from=0),
    ],
)
def test_tokens_and_attention_are_the_papers(settings):
    model, images = build(sigma=SIGMA, **settings), windows()
    trunk = trunk_of(model, images)
    tokens, attention = model.dense_tokens(trunk), model.attention_weights(trunk)
    expected = [literal(model, image[None]) for image in images]
    assert largest_difference(tokens, torch.stack([e[0] for e in expected])) < 1e-5
    assert largest_difference(attention, torch.stack([e[1] for e in expected])) < 1e-5
    if model.fuse_following is not None and model.fuse_following < 10:
        assert len({emerging for _, _, emerging in expected}) > 1


@torch.no_grad()
def test_without_both_it_is_clearclip():
    images = windows(2)
    ours, _ = build(fuse_following=None, suppress_from=None).window_tokens(images)
    theirs, _ = build('ClearCLIP').window_tokens(images)
    assert largest_difference(ours, theirs) < 1e-5


# ---- eq. 2 to 4


def maps_where_patch_gets(share, patches=196, heads=2):
    """Attention maps (1, heads, 1 + patches, 1 + patches) whose last patch gets ``share`` and the others the rest."""
    maps = torch.full((1, heads, 1 + patches, 1 + patches), (1 - share) / patches)
    maps[..., -1] = share
    return maps


def test_global_token_is_what_the_docstring_says():
    shares = [1 / 197, 0.0058, 0.0060, 0.0091, 0.0093, 0.5]
    found = {sigma: [bool(has_global_token(maps_where_patch_gets(x), sigma)) for x in shares] for sigma in (100, 156)}
    assert found == {100: [False] * 4 + [True] * 2, 156: [False] * 2 + [True] * 4}


def test_global_token_does_not_depend_on_how_far_a_product_underflows():
    # 0.05^98 and 21^98 are out of fp32's range; together they are 120, or with 16 in place of 21, 3e-10.
    for large, expected in ((21.0, True), (16.0, False)):
        column = torch.tensor([0.05] * 98 + [large] * 98) / 100
        for order in (column, column.flip(0)):
            maps = torch.full((1, 1, 197, 197), 1e-3)
            maps[0, 0, 1:, 5] = order
            assert bool(has_global_token(maps, 100.0)) is expected


def test_cls_is_no_global_token():
    maps = maps_where_patch_gets(0.001)
    maps[..., 0] = 0.9
    assert not has_global_token(maps, 100.0)
    # and it has no say in what is one
    maps = maps_where_patch_gets(0.02)
    maps[..., 0, :] = 0
    assert has_global_token(maps, 100.0)


def test_attention_that_is_nought_is_no_error():
    maps = maps_where_patch_gets(0.5)
    maps[..., 7, :] = 0
    assert not has_global_token(maps, 100.0)


@pytest.mark.parametrize('following', [0, 1, 4])
def test_each_window_has_its_own_emerging_block(following):
    """Global tokens from another block on in each window, on and off again in one, and in one never."""
    weak, strong = maps_where_patch_gets(0.002), maps_where_patch_gets(0.3)
    emerges = ['0011111', '1000000', '0000000', '0000011', '0101010']
    noise = torch.rand(7, len(emerges), 1, 1, 1, generator=torch.Generator().manual_seed(0))
    maps = [
        torch.cat([strong if window[block] == '1' else weak for window in emerges]) * (1 + 0.01 * noise[block])
        for block in range(7)
    ]
    last = 7 - 1 - following
    out = emerging_maps(iter(maps), last, following, 100.0)
    for i, window in enumerate(emerges):
        first = min([block for block in range(7) if window[block] == '1'] + [last])
        expected = sum(maps[block][i] for block in range(first, first + following + 1))
        assert largest_difference(out[i], expected) < 1e-6


@pytest.mark.parametrize('precision', [torch.bfloat16, torch.float16])
def test_same_queries_and_keys_make_the_same_maps_in_any_precision(precision):
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randint(-8, 9, (2, 3, 20, 64), generator=generator) / 4 for _ in range(2))
    assert torch.equal(attention_map(query, key), attention_map(query.to(precision), key.to(precision)))


@torch.no_grad()
@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_low_precision_fuses_the_same_blocks(precision):
    images = windows(2)
    for sigma in (0.01, 100.0):  # no block passes; all pass
        reference, low = (build(precision=p, sigma=sigma) for p in ('fp32', precision))
        maps, low_maps = (model.attention_weights(trunk_of(model, images)) for model in (reference, low))
        assert low_maps.dtype == torch.float32
        assert largest_difference(maps, low_maps) < 0.02
        tokens, low_tokens = (model.window_tokens(images)[0] for model in (reference, low))
        assert torch.cosine_similarity(tokens, low_tokens, dim=-1).min() > 0.99


# ---- eq. 6 to 9


def test_suppression_is_the_papers():
    weight = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    weight[7] *= 20
    expected = literal_suppression(weight.double())
    assert largest_difference(weight * suppression(weight)[:, None], expected) < 1e-5
    # QuickGELU's constant in the weights, and their precision, are of no account.
    assert largest_difference(suppression(weight / 1.702), suppression(weight)) < 1e-6
    assert suppression(weight.bfloat16()).ne(1).nonzero().tolist() == [[7]]


@torch.no_grad()
def test_suppression_changes_values_alone_and_no_weights():
    images = windows(2)
    with_it, without = build(sigma=SIGMA), build(sigma=SIGMA, suppress_from=None)
    before = {name: value.clone() for name, value in with_it.backbone.state_dict().items()}
    tokens, other_tokens = with_it.window_tokens(images)[0], without.window_tokens(images)[0]
    assert largest_difference(tokens, other_tokens) > 1e-3
    maps, other_maps = (model.attention_weights(trunk_of(model, images)) for model in (with_it, without))
    assert largest_difference(maps, other_maps) < 1e-6
    assert all(torch.equal(value, before[name]) for name, value in with_it.backbone.state_dict().items())


def test_shared_depth_is_where_suppression_starts():
    assert build().shared_depth == 7
    assert build(suppress_from=0).shared_depth == 0
    assert build(suppress_from=None).shared_depth == 11
    assert build(suppress_from=None).inner_outputs == tuple(range(10))
    assert build(fuse_following=None).inner_outputs == ()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(fuse_following=11), 'fuse_following is 11; with this backbone it must be at most 10'),
        (dict(fuse_following=-1), 'fuse_following is -1'),
        (dict(fuse_following=False), 'fuse_following is False'),
        (dict(suppress_from=11), 'suppress_from is 11; with this backbone it must be at most 10'),
        (dict(suppress_from='7'), "suppress_from is '7'"),
        (dict(sigma=0), 'sigma is 0; it must be a number above 0'),
    ],
)
def test_wrong_settings_are_said(settings, message):
    with pytest.raises(BenchError, match=message):
        build(**settings)
