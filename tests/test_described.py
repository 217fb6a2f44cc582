"""A run that computes nothing loads nothing, and what was said of weights that are not loaded is true when they are."""

from __future__ import annotations

import functools

import pytest
import torch
from plans import tiny_leaf
from safetensors.torch import load_file, save_file
from tiny import TinyBench

from naclip_bench.backbones import weights as loading
from naclip_bench.backbones.described import Description
from naclip_bench.configuration import load_config, method_bases
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import OpenPass, Pass, passes_of
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.helpers import HELPERS
from naclip_bench.methods.naclip import NACLIP


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / 'cache'))
    return TinyBench(tmp_path)


def opened(leaf: Leaf) -> OpenPass:
    return OpenPass(Pass([leaf]), Selection())


def is_described(of: OpenPass) -> bool:
    return of.members[0].backbone.described is not None


def test_a_full_store_is_read_without_weights(bench, tmp_path, monkeypatch):
    passes, store = passes_of([tiny_leaf(bench), tiny_leaf(bench, 'sclip_voc21')]), Store(tmp_path / 'results')
    before = [result.record for result in run(passes, Selection(), store).values()]
    monkeypatch.setattr(loading, 'random_weights', lambda state: pytest.fail('weights were drawn'))
    after = [result.record for result in run(passes, Selection(), store).values()]
    assert after == before and before[0]['hashes']['weights']


def test_what_is_missing_is_computed_with_weights(bench, tmp_path):
    leaf = tiny_leaf(bench)
    ((_, alone),) = run([Pass([leaf])], Selection(), Store(tmp_path / 'one')).items()
    assert is_described(opened(leaf))
    ((_, again),) = run([Pass([leaf])], Selection(), Store(tmp_path / 'other')).items()
    assert again.record['metrics'] == alone.record['metrics']
    assert again.record['hashes'] == alone.record['hashes']


def test_other_files_are_other_weights(bench, tmp_path):
    path = tmp_path / 'weights.safetensors'
    save_file(opened(tiny_leaf(bench)).model.backbone.clip.state_dict(), path)
    leaf = tiny_leaf(bench, pretrained=path)
    first = opened(leaf)
    assert not is_described(first) and is_described(opened(leaf))
    assert opened(leaf).keys == first.keys
    save_file({name: value * 2 for name, value in load_file(path).items()}, path)
    other = opened(leaf)
    assert not is_described(other) and other.keys != first.keys


def test_colors_are_known_with_the_weights(bench):
    leaves = [tiny_leaf(bench, model__backbone__colors=colors) for colors in ('openai', 'inception', 'openai')]
    first, second, third = map(opened, leaves)
    assert [is_described(of) for of in (first, second, third)] == [False, False, True]
    assert third.keys == first.keys != second.keys
    assert third.members[0].backbone.colors == first.members[0].backbone.colors


def test_what_is_kept_is_checked_before_anything_is_computed(bench, tmp_path, monkeypatch):
    leaf, store = tiny_leaf(bench), Store(tmp_path / 'results')
    opened(leaf)
    monkeypatch.setattr(Description, 'read', lambda self: {'sha256': '0' * 64, 'colors': [[0.5] * 3] * 2})
    with pytest.raises(BenchError, match=r'weights random were changed meanwhile.*delete its folder "weights"'):
        run([Pass([leaf])], Selection(), store)
    assert not [*(tmp_path / 'results').rglob('*.npz')]


def test_a_cache_that_is_damaged_knows_nothing(bench, tmp_path):
    leaf = tiny_leaf(bench)
    keys = opened(leaf).keys
    (kept,) = (tmp_path / 'cache' / 'weights').iterdir()
    kept.write_text('{"sha')
    damaged = opened(leaf)
    assert not is_described(damaged) and damaged.keys == keys


def test_a_method_that_looks_at_weights_gets_them(bench, monkeypatch):
    leaf = tiny_leaf(bench)
    assert opened(leaf).keys and is_described(opened(leaf))
    init = NACLIP.__init__

    @functools.wraps(init)
    def looking(self, *args, **settings):
        init(self, *args, **settings)
        self.scale = self.backbone.clip.logit_scale.item()

    monkeypatch.setattr(NACLIP, '__init__', looking)
    found = opened(leaf)
    assert not is_described(found) and found.members[0].scale == pytest.approx(4.6052)


@pytest.mark.parametrize('name', sorted(method_bases()))
def test_every_method_can_be_described(name, tmp_path, monkeypatch):
    """With CLIP alone: methods with a helper are loaded."""
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / 'cache'))
    config = load_config(f'{name}_materials24', pretrained='none')
    if any(config.model.get(helper) for helper in HELPERS):
        pytest.skip('it has a helper')
    leaf = Leaf(name, config)
    loaded, known = (OpenPass(Pass([leaf]), Selection(limit=1)) for _ in range(2))
    assert known.keys == loaded.keys and is_described(known)
    assert all(value.is_meta for value in known.members[0].backbone.parameters())
    assert not any(isinstance(value, torch.nn.Parameter) and value.is_meta for value in known.model.parameters())
