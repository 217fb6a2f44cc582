"""``Segmenter`` is timed beside ways that do the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import COMMAND, run_here

from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.segment import Segmenter, beside
from naclip_bench.segment.inputs import picture_of

WORDS = 'grass, brick, lava'


def test_the_released_way_gives_the_same_labels():
    segmenter = Segmenter('naclip', WORDS, background=True, weights='materials', device='cpu')
    picture = picture_of(drawn('00000').image)
    released = beside.ways_of(segmenter)['as released'](picture)
    assert (released.numpy() == segmenter(picture).labels).mean() > 0.999


def test_clipseg_gives_a_label_a_pixel():
    pytest.importorskip('transformers', reason='the extra helpers is not installed')
    found = beside.clipseg(['dog', 'boat'], torch.device('cpu'))(picture_of(drawn('00000').image))
    assert found.shape == drawn('00000').image.shape[:2] and set(found.unique().tolist()) <= {0, 1}


def test_ways_take_turns():
    calls = []
    ways = {name: lambda picture, name=name: calls.append((name, picture)) for name in 'abc'}
    seconds = beside.measure(ways, [1, 2], torch.device('cpu'))
    # Once to warm up, and another one first with each image.
    assert calls == [('a', 1), ('b', 1), ('c', 1), ('a', 1), ('b', 1), ('c', 1), ('b', 2), ('c', 2), ('a', 2)]
    assert {name: len(of) for name, of in seconds.items()} == dict.fromkeys('abc', 2)


def test_the_command_prints_medians(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(beside, 'clipseg', lambda names, device: lambda picture: np.zeros(1))
    Image.fromarray(drawn('00000').image).save('a.png')
    benchmark = COMMAND.with_name('benchmark.py')
    ended = run_here(capfd, ['--images', 'a.png', '--words', WORDS, '--pretrained', 'materials'], benchmark)
    assert ended.code == 0 and all(f' {way} ' in ended.stdout for way in ('Segmenter', 'as released', 'CLIPSeg'))
    assert '1 images, 3 words, naclip, fp32' in ended.stdout
    for wrong in (['--images', 'a.png'], ['naclip_voc21', '--words', WORDS, '--images', 'a.png']):
        ended = run_here(capfd, wrong, benchmark)
        assert ended.code == 1 and 'go together, in place of a config' in ended.stderr
    assert not Path('work_dirs').exists()
