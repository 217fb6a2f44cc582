"""Files of weights of other families than CLIP: taken as they are meant, or refused in one line."""

from __future__ import annotations

import open_clip
import open_clip.pretrained
import pytest
import torch
from families import CONFIGS, library_model, side_of

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.errors import BenchError

INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope='module', params=['siglip', 'eva', 'resnet'])
def weights(request):
    """A config, and a state dict for it with values of its own."""
    state = library_model(CONFIGS[request.param]).state_dict()
    changed = {key: value * 0.9 if value.is_floating_point() else value + 3 for key, value in state.items()}
    return CONFIGS[request.param], changed


def saved(state, path):
    torch.save(state, path)
    return str(path)


def test_a_file_is_what_the_library_reads(tmp_path, weights):
    config, state = weights
    backbone, library = FrozenCLIP(config, saved(state, tmp_path / 'a.pt')), library_model(config)
    library.load_state_dict(state)
    side = side_of(config)
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(backbone.encode_image(images), library.encode_image(images), rtol=1e-3, atol=1e-4)
    assert not backbone.random_weights and backbone.weights_hash != FrozenCLIP(config, None).weights_hash


@pytest.mark.parametrize('prefix', ['module.', 'model.'])
def test_a_prefix_is_taken_off(tmp_path, weights, prefix):
    config, state = weights
    plain = FrozenCLIP(config, saved(state, tmp_path / 'plain.pt')).weights_hash
    wrapped = {'state_dict': {f'{prefix}{key}': value for key, value in state.items()}, 'epoch': 3}
    assert FrozenCLIP(config, saved(wrapped, tmp_path / 'wrapped.pt')).weights_hash == plain


def test_text_beside_the_vision_tower_is_put_into_its_own(tmp_path):
    """As OpenAI's layout has it, and open_clip's own reading takes it."""
    state = library_model(CONFIGS['eva']).state_dict()
    beside = {key.removeprefix('text.'): value for key, value in state.items()}
    found = FrozenCLIP(CONFIGS['eva'], saved(beside, tmp_path / 'beside.pt'))
    assert found.weights_hash == FrozenCLIP(CONFIGS['eva'], None).weights_hash


@pytest.mark.parametrize('name', ['siglip', 'resnet'])
def test_a_vision_tower_alone_says_so(tmp_path, name):
    state = library_model(CONFIGS[name]).state_dict()
    vision = {key: value for key, value in state.items() if key.startswith('visual.')}
    with pytest.raises(BenchError, match='vision tower alone'):
        FrozenCLIP(CONFIGS[name], saved(vision, tmp_path / 'vision.pt'))


def test_siglip_by_the_names_of_transformers_says_so(tmp_path):
    state = {'vision_model.head.probe': torch.zeros(1, 1, 48), 'text_model.head.weight': torch.zeros(48, 48)}
    with pytest.raises(BenchError, match="SigLIP by transformers' names"):
        FrozenCLIP(CONFIGS['siglip'], saved(state, tmp_path / 'theirs.pt'))


def test_weights_of_another_family_say_the_first_difference(tmp_path):
    state = library_model(CONFIGS['eva']).state_dict()
    with pytest.raises(BenchError, match=r'another architecture than custom-.*; set model.backbone.arch'):
        FrozenCLIP(CONFIGS['siglip'], saved(state, tmp_path / 'eva.pt'))


def test_colors_that_all_weights_of_a_model_share(tmp_path, monkeypatch):
    state = library_model(CONFIGS['siglip']).state_dict()
    path = saved(state, tmp_path / 'a.pt')
    entry = dict(file=path, mean=(0.5,) * 3, std=(0.5,) * 3)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, 'tiny-for-this-test', CONFIGS['siglip'])
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, 'tiny-for-this-test', {'one': entry, 'other': entry})
    assert FrozenCLIP('tiny-for-this-test', 'one').colors == INCEPTION
    assert FrozenCLIP('tiny-for-this-test', path).colors == INCEPTION
