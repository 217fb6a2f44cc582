"""The frozen CLIP in pieces, against open_clip and stored outputs."""

import open_clip
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.positions import interpolate_positions
from naclip_bench.backbones.weights import random_weights

pytestmark = pytest.mark.numeric

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def backbone():
    return FrozenCLIP(TINY, None)


@pytest.fixture(scope='module')
def reference():
    """open_clip's own model with the same weights."""
    model = open_clip.CLIP(**TINY).eval()
    model.load_state_dict(random_weights(model.state_dict()))
    return model


def test_image_embedding_is_the_released_one(backbone):
    expected = golden('naclip.npz')['tiny/openai/cls/224x224']
    assert largest_difference(backbone.encode_image(random_image(224, 224)), expected) < 1e-5


def test_positions_are_the_released_ones(backbone):
    expected = golden('naclip.npz')['tiny/posemb/224x336'][0]
    assert largest_difference(backbone._positions((14, 21), torch.float32, CPU), expected) < 1e-5


def test_positions_of_the_trained_grid_are_untouched():
    embedding = torch.randn(1 + 4 * 4, 8)
    assert torch.equal(interpolate_positions(embedding, (4, 4), (4, 4)), embedding)
    # The released code looks at the number of tokens alone.
    assert torch.equal(interpolate_positions(embedding, (4, 4), (2, 8)), embedding)
    assert interpolate_positions(embedding, (4, 4), (3, 7)).shape == (22, 8)


@torch.no_grad()
def test_every_block_is_open_clips(backbone, reference):
    tokens = reference.visual._embeds(random_image(224, 224))
    trunk = backbone.trunk(random_image(224, 224), 12, outputs=range(12), attention=[3])
    assert trunk.grid == (14, 14)
    for index, block in enumerate(reference.visual.transformer.resblocks):
        if index == 3:
            normalized = block.ln_1(tokens)
            _, expected = block.attn(normalized, normalized, normalized, average_attn_weights=False)
            assert largest_difference(trunk.attention[3], expected) < 1e-5
        tokens = block(tokens)
        # The residual stream grows from block to block, and its rounding with it.
        assert largest_difference(trunk.outputs[index], tokens) < 2e-6 * tokens.abs().max()
    assert torch.equal(trunk.outputs[11], trunk.tokens)


def test_text_trimmed_to_its_length_is_open_clips(backbone, reference):
    texts = open_clip.SimpleTokenizer()(['a', 'a photo of a cat.', 'a black and white photo of the horse.'])
    with torch.no_grad():
        expected = reference.encode_text(texts)
    assert largest_difference(backbone.encode_text(texts), expected) < 1e-5


def test_weights_trained_with_gelu():
    arch = {**TINY, 'quick_gelu': False, 'vision_cfg': {**TINY['vision_cfg'], 'patch_size': 14}}
    model = open_clip.CLIP(**arch).eval()
    model.load_state_dict(random_weights(model.state_dict()))
    ours, texts = FrozenCLIP(arch, None), open_clip.SimpleTokenizer()(['a photo of a cat.'])
    with torch.no_grad():
        image = random_image(224, 224)
        assert largest_difference(ours.encode_image(image), model.encode_image(image)) < 1e-5
        assert largest_difference(ours.encode_text(texts), model.encode_text(texts)) < 1e-5


def test_a_remainder_of_pixels_is_not_seen(backbone):
    whole, longer = random_image(224, 224), torch.zeros(1, 3, 239, 230)
    longer[..., :224, :224] = whole
    assert torch.equal(backbone.trunk(longer, 2).tokens, backbone.trunk(whole, 2).tokens)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_low_precision_is_near_fp32(backbone, precision):
    low = FrozenCLIP(TINY, None, precision)
    assert low.dtype != torch.float32
    a, b = (model.encode_image(random_image(224, 224)).float() for model in (low, backbone))
    assert torch.cosine_similarity(a, b).item() > 0.99
    assert low.weights_hash == backbone.weights_hash


def test_trunk_flops_count_the_matrix_products(backbone):
    tokens, width = 197, 128
    block = 2 * (tokens * width * 12 * width + 2 * tokens * tokens * width)
    embed = 2 * 196 * 3 * 256 * width
    assert backbone.trunk_flops(3, (14, 14), 11) == 3 * (11 * block + embed)
