"""Operations of methods: torch's count against closed forms."""

import pytest
import torch
from golden import TINY, random_image
from mmseg.registry import MODELS

from naclip_bench.configuration import load_config, method_bases
from naclip_bench.helpers import HELPERS
from naclip_bench.speed.flops import counted, flops_of_config, flops_of_image
from naclip_bench.vocabulary import Vocabulary

TOKENS, WIDTH = 4 * 4 + 1, 128
#: Multiply-adds of an attention's two products in all heads, of one of the four projections, of the feed-forward
#: network.
ATTENTION, PROJECTION, FFN = 2 * TOKENS**2 * WIDTH, TOKENS * WIDTH**2, 8 * TOKENS * WIDTH**2


def config(method, **settings):
    found = load_config(f'{method}_voc20')
    found.model.update(window=64, stride=32, **settings)
    found.model.backbone.arch = TINY
    return found


def closed_form(backbone, blocks):
    """Multiply-adds of the patches' embedding and of whole blocks, of one window."""
    assert (backbone.width, backbone.patch) == (WIDTH, 16)
    return (TOKENS - 1) * 3 * 16**2 * WIDTH + blocks * (4 * PROJECTION + ATTENTION + FFN)


def head_and_match(backbone):
    queries = len(Vocabulary('voc20').queries)
    return TOKENS * WIDTH * backbone.embed_dim + (TOKENS - 1) * backbone.embed_dim * queries


def test_clip_costs_what_the_formula_says():
    """Two operations a multiply-add; 2 x 3 windows in an image of 96 x 120."""
    of = config('clip')
    backbone = MODELS.build(dict(of.model, backbone=dict(arch=TINY, pretrained=None))).backbone
    blocks = len(backbone.blocks)
    found = flops_of_config(of, (96, 120))
    assert found.windows == 2 * 3
    assert found.total == 6 * 2 * (closed_form(backbone, blocks) + head_and_match(backbone))
    assert found.trunk == backbone.trunk_flops(6, (4, 4), blocks - 1) == 6 * 2 * closed_form(backbone, blocks - 1)


@pytest.mark.parametrize(
    ('method', 'last_block'),
    [
        # Values alone are used, but all three are projected.
        ('maskclip', 4 * PROJECTION),
        ('naclip', 4 * PROJECTION + ATTENTION),
        ('clearclip', 4 * PROJECTION + ATTENTION),
        # Two attentions, added.
        ('sclip', 4 * PROJECTION + FFN + 2 * ATTENTION),
    ],
)
def test_methods_cost_what_their_last_block_says(method, last_block):
    of = config(method)
    backbone = MODELS.build(dict(of.model, backbone=dict(arch=TINY, pretrained=None))).backbone
    assert flops_of_config(of, (64, 64)).method == 2 * (last_block + head_and_match(backbone))


@pytest.mark.parametrize(
    'method', sorted(method for method in method_bases() if not {*config(method).model} & {*HELPERS})
)
def test_every_method_is_counted(method):
    """An image costs its windows, and its trunk what the formula says, attention maps that are looked at on top."""
    of = config(method)
    model = MODELS.build(dict(of.model, backbone=dict(arch=TINY, pretrained=None)))
    one, four = flops_of_config(of, (64, 64)), flops_of_config(of, (96, 96))
    assert (one.windows, four.windows) == (1, 4)
    assert (four.trunk, four.method) == (4 * one.trunk, 4 * one.method)
    maps = len(model.need.attention) * (3 * PROJECTION + ATTENTION // 2)
    assert one.trunk == model.backbone.trunk_flops(1, (4, 4), model.shared_depth) + 2 * maps
    assert one.method > 0


def test_an_image_is_counted_window_by_window():
    of = config('naclip', window_batch=4)
    model = MODELS.build(dict(of.model, backbone=dict(arch=TINY, pretrained=None)))
    assert flops_of_image(model, random_image(96, 120)[0]) == flops_of_config(of, (96, 120))


def test_ratios_of_sclips_table_4():
    """~4x, ~3x, ~9x and ~4x its first row, on square images; the third is 2.25x in all but attention."""
    rows = [(224, 224, 112), (336, 224, 112), (336, 336, 112), (448, 224, 112), (448, 448, 224)]
    found = []
    for side, window, stride in rows:
        of = config('sclip')
        of.model.update(window=window, stride=stride)
        found.append(flops_of_config(of, (side, side)).total)
    ratios = [total / found[0] for total in found]
    assert ratios[1] == 4
    assert ratios[3] == 9
    assert 2.25 < ratios[2] < 3.5
    assert 4 < ratios[4] < 8


def test_fused_attention_is_counted():
    query = torch.randn(2, 3, 5, 7)
    _, flops = counted(lambda: torch.nn.functional.scaled_dot_product_attention(query, query, query))
    assert flops == 2 * 2 * (2 * 3 * 5 * 5 * 7)
