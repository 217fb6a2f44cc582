"""Each family of backbones, taken apart and put together again, is the library's own model."""

from __future__ import annotations

import open_clip
import pytest
import torch
from families import CONFIGS, library_model, side_of, skip_where_missing, tokens_of

from naclip_bench.backbones import FrozenCLIP, TrunkNeed
from naclip_bench.backbones.families import CLS, FAMILIES, INNER_BLOCKS, RESIDUALS, family_of
from naclip_bench.errors import BenchError

WORDS = ['a', 'a photo of a cat.', 'a black and white photo of the horse.']


def image(height, width, count=2, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def difference(found, expected):
    """The largest, as a share of what is compared."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope='module', params=CONFIGS)
def pair(request):
    """A backbone, and the library's own model with the same weights."""
    config = CONFIGS[request.param]
    skip_where_missing(config)
    backbone = FrozenCLIP(config, None)
    assert backbone.family is FAMILIES[request.param.split(',')[0]]
    return backbone, library_model(config), config


@pytest.mark.numeric
def test_image_embedding_is_the_librarys(pair):
    backbone, library, config = pair
    images = image(side_of(config), side_of(config))
    with torch.no_grad():
        assert difference(backbone.encode_image(images), library.encode_image(images)) < 1e-5


@pytest.mark.numeric
def test_text_embedding_is_the_librarys(pair):
    backbone, library, config = pair
    tokens = tokens_of(WORDS, config)
    with torch.no_grad():
        assert difference(backbone.encode_text(tokens), library.encode_text(tokens)) < 1e-5


@pytest.mark.numeric
def test_patch_tokens_of_every_block_are_the_librarys(pair):
    backbone, library, config = pair
    if INNER_BLOCKS not in backbone.family.offers:
        pytest.skip('the library gives stages of convolutions')
    images, depth = image(side_of(config), side_of(config)), len(backbone.blocks)
    trunk = backbone.trunk(images, depth, outputs=range(depth))
    with torch.no_grad():
        if hasattr(library.visual, 'forward_intermediates'):
            maps = library.visual.forward_intermediates(images, indices=depth)['image_intermediates']
            expected = [of.flatten(2).transpose(1, 2) for of in maps]
        else:
            states = library.visual(pixel_values=images, output_hidden_states=True).hidden_states[1:]
            expected = [of[:, backbone.prefix :] for of in states]
    assert len(expected) == depth
    for index, of in enumerate(expected):
        assert difference(trunk.outputs[index][:, backbone.prefix :], of) < 1e-5


@pytest.mark.numeric
def test_the_last_block_in_pieces_is_the_whole(pair):
    backbone, _, _ = pair
    trunk = backbone.trunk(image(64, 96), len(backbone.blocks) - 1)
    block, tokens = backbone.blocks[-1], trunk.tokens
    query, key, value = block.qkv(tokens, trunk.rotation)
    weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
    assert difference(block.attention_map(tokens, trunk.rotation), weights) < 1e-5
    out = block.output(weights @ value)
    whole = block.surround(tokens, out) if RESIDUALS in backbone.family.offers else out
    assert difference(whole, block.run(tokens.clone(), rotation=trunk.rotation)) < 1e-5


def resized(library, size):
    """The library's own model for images of another size."""
    visual = library.visual
    if hasattr(visual, 'set_input_size'):
        visual.set_input_size(size)
        return library
    grid, native = [side // visual.patch_size[0] for side in size], visual.grid_size
    before, patches = visual.positional_embedding.tensor_split([1])
    patches = patches.T.reshape(1, -1, *native)
    patches = torch.nn.functional.interpolate(patches, size=grid, mode='bicubic', antialias=True)
    visual.positional_embedding = torch.nn.Parameter(torch.cat([before, patches.flatten(2)[0].T]))
    return library


@pytest.mark.numeric
@pytest.mark.parametrize('size', [(48, 80), (128, 64)])
def test_any_grid_of_patches(pair, size):
    backbone, _, config = pair
    if backbone.family in (FAMILIES['resnet'], FAMILIES['tips']):
        pytest.skip('the library interpolates positions in no way that a method does')
    library, images = resized(library_model(config), size), image(*size)
    trunk = backbone.trunks(images, [TrunkNeed(len(backbone.blocks), positions='antialias')])[0]
    assert trunk.grid == tuple(side // backbone.patch for side in size)
    with torch.no_grad():
        assert difference(backbone.tower.pooled(trunk.tokens), library.encode_image(images)) < 1e-5


@pytest.mark.numeric
def test_windows_of_a_batch_are_those_of_each_alone(pair):
    backbone, _, _ = pair
    images = image(96, 64, count=5)
    together = backbone.head(backbone.trunk(images, len(backbone.blocks)).tokens)
    for index in (0, 4):
        alone = backbone.head(backbone.trunk(images[index : index + 1], len(backbone.blocks)).tokens)
        assert difference(together[index : index + 1], alone) < 1e-5


@pytest.mark.numeric
def test_the_first_token_is_the_image_where_a_cls_token_is_offered(pair):
    backbone, _, _ = pair
    tokens = backbone.trunk(image(64, 64), len(backbone.blocks)).tokens
    first = backbone.head(tokens)[:, 0]
    assert (difference(first, backbone.tower.pooled(tokens)) < 1e-5) is (CLS in backbone.family.offers)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
@pytest.mark.parametrize('name', ['eva', 'resnet', 'siglip'])
def test_low_precision_is_near_fp32(name, precision):
    low, full = FrozenCLIP(CONFIGS[name], None, precision), library_model(CONFIGS[name])
    images = image(side_of(CONFIGS[name]), side_of(CONFIGS[name]))
    assert low.dtype != torch.float32
    assert torch.cosine_similarity(low.encode_image(images).float(), full.encode_image(images)).min() > 0.97


def test_every_model_of_open_clip_has_a_family_or_a_reason():
    families, refused = {}, {}
    for name in open_clip.list_models():
        try:
            family = family_of(name, open_clip.get_model_config(name))
            families.setdefault(family.title, []).append(name)
        except BenchError as error:
            refused[name] = str(error)
    assert set(families) == {family.title for family in FAMILIES.values()} - {'TIPSv2'}
    for name, family in {
        'ViT-H-14-378-quickgelu': 'CLIP',
        'ViT-H-14-worldwide-quickgelu': 'CLIP',
        'ViT-bigG-14-CLIPA': 'CLIPA',
        'ViT-SO400M-14-SigLIP-378': 'SigLIP',
        'ViT-gopt-16-SigLIP2-384': 'SigLIP',
        'EVA02-E-14-plus': 'EVA-CLIP',
        'PE-Core-bigG-14-448': 'PE-Core',
        'MobileCLIP2-L-14': 'MobileCLIP',
        'RN50x64': 'ResNet',
    }.items():
        assert name in families[family]
    for begin in ('ViTamin', 'MobileCLIP-S', 'convnext', 'swin', 'coca'):
        assert [name for name in refused if name.startswith(begin)]
        assert not [name for of in families.values() for name in of if name.startswith(begin)]
    assert all(' is no backbone: ' in line and '\n' not in line for line in refused.values())
