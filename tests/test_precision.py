"""The precision that a machine is made for, for those who ask for it."""

from __future__ import annotations

import pytest
import torch

from naclip_bench.configuration import load_config
from naclip_bench.errors import BenchError
from naclip_bench.segment.segmenter import Segmenter


@pytest.mark.parametrize(
    ('units', 'precision'), [({'amx_bf16'}, 'bf16'), ({'avx512_bf16'}, 'bf16'), ({'avx2'}, 'fp32')]
)
def test_auto_is_bf16_on_cpus_that_have_units_for_it(monkeypatch, units, precision):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict.fromkeys(units, True), raising=False)
    assert load_config('naclip_voc21', precision='auto').model.backbone.precision == precision


@pytest.mark.parametrize(('supported', 'precision'), [(True, 'bf16'), (False, 'fp32')])
def test_auto_is_bf16_on_gpus_that_have_units_for_it(monkeypatch, supported, precision):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: supported)
    assert load_config('naclip_voc21', precision='auto').model.backbone.precision == precision


def test_nobody_gets_it_unasked(monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'amx_bf16': True}, raising=False)
    assert load_config('naclip_voc21').model.backbone.get('precision', 'fp32') == 'fp32'


def test_a_segmenter_asks_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'avx512_bf16': True}, raising=False)
    segmenter = Segmenter('naclip', ['gold', 'brick'], weights='materials', device='cpu', precision='auto')
    assert segmenter.member.backbone.precision == 'bf16'


@pytest.mark.parametrize(('name', 'value', 'other'), [('precision', 'bf16', 'fp16'), ('pretrained', 'none', 'openai')])
def test_what_is_said_twice_is_refused(name, value, other):
    """Neither is meant more than the other; one of them was ignored."""
    with pytest.raises(BenchError, match=f'{name} is {value}, and model.backbone.{name} {other}; give one'):
        load_config('naclip_voc21', **{name: value}, cfg_options={f'model.backbone.{name}': other})
