"""TorchScript archives: OpenAI's are taken, others are refused or converted once."""

from __future__ import annotations

import hashlib

import open_clip
import open_clip.pretrained
import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY_CLIP

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.checkpoint import convert_archive, read_checkpoint
from naclip_bench.backbones.colors import OPENAI
from naclip_bench.backbones.weights import random_weights
from naclip_bench.errors import BenchError


def refusal(*arguments: object) -> str:
    with pytest.raises(BenchError) as refused:
        FrozenCLIP(*arguments)
    return str(refused.value)


@pytest.fixture(scope='module')
def state():
    return random_weights(open_clip.CLIP(**TINY_CLIP).state_dict())


@pytest.fixture(scope='module')
def weights_hash():
    return FrozenCLIP(TINY_CLIP, None).weights_hash


@pytest.fixture(scope='module')
def archive(tmp_path_factory, state):
    """A TorchScript archive as OpenAI makes them."""
    model = open_clip.CLIP(**TINY_CLIP).eval()
    model.load_state_dict(state)
    model.attn_mask = None  # no part of OpenAI's archives
    for name, value in dict(input_resolution=32, context_length=77, vocab_size=49408).items():
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    traced = torch.jit.trace_module(model, {'encode_image': torch.zeros(1, 3, 32, 32)}, check_trace=False)
    path = tmp_path_factory.mktemp('archive') / 'ViT-tiny.pt'
    torch.jit.save(traced, path)
    return path


def test_archive_of_openai_is_known_by_its_sha256(archive, monkeypatch, weights_hash):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    url = f'https://openaipublic.azureedge.net/clip/models/{digest}/ViT-tiny.pt'
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, 'ViT-tiny', {'openai': dict(url=url)})
    loaded = FrozenCLIP(TINY_CLIP, str(archive))
    assert (loaded.weights_hash, loaded.colors) == (weights_hash, OPENAI)
    assert 'QuickGELU; set quick_gelu to true' in refusal({**TINY_CLIP, 'quick_gelu': False}, str(archive))


def test_other_archive_is_refused_before_it_is_loaded(archive, monkeypatch):
    monkeypatch.setattr('torch.jit.load', lambda *_, **__: pytest.fail('it was loaded'))
    line = refusal(TINY_CLIP, str(archive))
    for fragment in ('ViT-tiny.pt', "none of OpenAI's", 'could run anything', 'convert_archive('):
        assert fragment in line


def test_archive_converted_once(archive, tmp_path, caplog, weights_hash):
    target = tmp_path / 'ViT-tiny.safetensors'
    convert_archive(archive, target)
    assert 'runs what its author wrote' in caplog.text
    assert FrozenCLIP(TINY_CLIP, str(target)).weights_hash == weights_hash
    assert 'input_resolution' not in read_checkpoint(target).state
    assert load_file(target)['visual.proj'].shape == (64, 32)


@pytest.mark.parametrize(('source', 'target'), [('archive', 'weights.pt'), ('text', 'weights.safetensors')])
def test_conversion_that_cannot_be(archive, tmp_path, source, target):
    (tmp_path / 'text').write_text('a page of text')
    with pytest.raises(BenchError, match=r'no TorchScript archive|ends in \.safetensors'):
        convert_archive(archive if source == 'archive' else tmp_path / 'text', tmp_path / target)
    assert not (tmp_path / target).exists()
