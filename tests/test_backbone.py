"""The frozen CLIP in pieces, against open_clip and stored outputs."""

import open_clip
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from safetensors.torch import save_file

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.positions import interpolate_positions
from naclip_bench.backbones.weights import random_weights
from naclip_bench.datasets.preprocessor import ImagePreprocessor
from naclip_bench.errors import BenchError

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


# ---- weights


def state_dict():
    return random_weights(open_clip.CLIP(**TINY).state_dict())


def test_weights_are_the_same_from_any_file(tmp_path, backbone):
    state = state_dict()
    save_file(state, tmp_path / 'a.safetensors')
    torch.save(state, tmp_path / 'b.pt')
    torch.save({'state_dict': {f'module.{key}': value for key, value in state.items()}}, tmp_path / 'c.pt')
    for name in ('a.safetensors', 'b.pt', 'c.pt'):
        loaded = FrozenCLIP(TINY, str(tmp_path / name))
        assert loaded.weights_hash == backbone.weights_hash
        assert loaded.weights_name == name


def test_torchscript_archive_as_openai_ships_it(tmp_path, backbone):
    model = open_clip.CLIP(**TINY).eval()
    model.load_state_dict(state_dict())
    model.attn_mask = None  # no part of OpenAI's archives
    for name, value in dict(input_resolution=224, context_length=77, vocab_size=49408).items():
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    traced = torch.jit.trace_module(model, {'encode_image': torch.zeros(1, 3, 224, 224)}, check_trace=False)
    torch.jit.save(traced, tmp_path / 'ViT-tiny.pt')
    assert FrozenCLIP(TINY, str(tmp_path / 'ViT-tiny.pt')).weights_hash == backbone.weights_hash
    with pytest.raises(BenchError, match='QuickGELU'):
        FrozenCLIP({**TINY, 'quick_gelu': False}, str(tmp_path / 'ViT-tiny.pt'))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath('ran').touch, ())

    torch.save({'weight': Evil()}, tmp_path / 'evil.pt')
    with pytest.raises(BenchError, match='holds no weights'):
        FrozenCLIP(TINY, str(tmp_path / 'evil.pt'))
    assert not (tmp_path / 'ran').exists()


def test_a_hash_tells_weights_apart(tmp_path, backbone):
    state = state_dict()
    state['visual.proj'][0, 0] += 1e-3
    save_file(state, tmp_path / 'other.safetensors')
    assert FrozenCLIP(TINY, str(tmp_path / 'other.safetensors')).weights_hash != backbone.weights_hash


def test_tag_from_a_filled_hugging_face_cache(tmp_path, monkeypatch):
    """The download path of users, with the cache that a download would have filled."""
    import huggingface_hub.constants
    from open_clip.pretrained import _PRETRAINED

    arch = 'tiny-for-this-test'
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, arch, TINY)
    entry = dict(hf_hub='someone/tiny-clip/', quick_gelu=True, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.5))
    monkeypatch.setitem(_PRETRAINED, arch, dict(someone=entry))
    revision = '0' * 40
    snapshot = tmp_path / 'models--someone--tiny-clip' / 'snapshots' / revision
    snapshot.mkdir(parents=True)
    refs = tmp_path / 'models--someone--tiny-clip' / 'refs'
    refs.mkdir()
    (refs / 'main').write_text(revision)
    save_file(state_dict(), snapshot / 'open_clip_model.safetensors')
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.file_download.constants.HF_HUB_CACHE', str(tmp_path))
    loaded = FrozenCLIP(arch, 'someone')
    assert loaded.weights_name == 'someone'
    assert loaded.weights_hash == FrozenCLIP(TINY, None).weights_hash
    assert not loaded.random_weights
    # Some tags were trained with other colors than OpenAI's; images are normalized with theirs.
    preprocessor = ImagePreprocessor.of(loaded.colors)
    blue_green_red = torch.tensor([255, 0, 51], dtype=torch.uint8)[:, None, None]
    normalized = preprocessor(dict(inputs=[blue_green_red]))['inputs'][0]
    assert torch.allclose(normalized.flatten(), torch.tensor([(0.2 - 0.5) / 0.25, -1.0, 1.0]))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='ViT-B-61-quickgelu'), 'did you mean .*ViT-B-16-quickgelu'),
        (dict(arch='RN50', pretrained=None), 'no plain CLIP vision transformer'),
        (dict(arch='ViT-B-16-SigLIP', pretrained=None), 'no plain CLIP vision transformer'),
        (dict(arch='xlm-roberta-base-ViT-B-32', pretrained=None), 'no plain CLIP vision transformer'),
        (dict(arch='ViT-L-14-worldwide', pretrained=None), 'no plain CLIP vision transformer'),
        (dict(arch=dict(embed_dim=3)), 'lacks vision_cfg, text_cfg'),
        (dict(pretrained='opneai'), 'did you mean "openai"'),
        (dict(arch='ViT-B-16', pretrained='openai'), 'use arch ViT-B-16-quickgelu'),
        (dict(pretrained='nowhere/weights.pt'), 'three ways'),
        (dict(arch=TINY, pretrained=None, precision='fp8'), 'precision is .fp8.; it must be'),
    ],
)
def test_what_is_not_there_is_said(arguments, message):
    with pytest.raises(BenchError, match=message):
        FrozenCLIP(**arguments)
