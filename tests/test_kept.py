"""The trunk kept on disk: read in place of computed, to the same bits whatever was there before."""

from __future__ import annotations

import shutil

import pytest
import torch
from golden import TINY, random_image
from tiny import TinyBench

from naclip_bench.backbones import FrozenCLIP, TrunkNeed
from naclip_bench.configuration import load_config
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Leaf
from naclip_bench.evaluation.opened import Pass
from naclip_bench.tables.estimate import estimate
from naclip_bench.tables.plan import Options

LAST, INNER = TrunkNeed(11), TrunkNeed(11, outputs=(3,))
WINDOWS = torch.cat([random_image(64, 80, seed) for seed in range(4)])


def clip(folder=None, **settings):
    return FrozenCLIP(arch=TINY, pretrained=None, keep=folder, **settings)


def files(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_what_is_kept_is_read_and_rounded_once(tmp_path, precision, monkeypatch):
    plain = clip(precision=precision).trunks(WINDOWS, [LAST])[0].tokens
    kept = clip(tmp_path, precision=precision)
    (first,) = kept.trunks(WINDOWS, [LAST])
    assert len(files(tmp_path)) == 4
    assert first.tokens.equal(plain.half().to(plain.dtype)), 'also the run that computes it reads it rounded'
    # A method that comes later, on a backbone of its own.
    later = clip(tmp_path, precision=precision)
    monkeypatch.setattr(later, '_run', lambda *arguments: pytest.fail('computed again'))
    assert later.trunks(WINDOWS[[2, 0]], [LAST, LAST])[1].tokens.equal(first.tokens[[2, 0]])


def test_only_what_is_missing_is_computed(tmp_path, monkeypatch):
    kept = clip(tmp_path)
    few = kept.trunks(WINDOWS[:3], [LAST])[0].tokens
    asked = []
    run = kept._run
    monkeypatch.setattr(kept, '_run', lambda images, *more: asked.append(len(images)) or run(images, *more))
    assert kept.trunks(WINDOWS, [LAST])[0].tokens[:3].equal(few)
    kept.trunks(WINDOWS, [TrunkNeed(8), LAST])
    assert asked == [1, 4] and len(files(tmp_path)) == 8


def test_methods_that_look_at_inner_blocks_get_what_they_get_alone(tmp_path):
    together = clip(tmp_path).trunks(WINDOWS, [LAST, INNER])
    alone = clip(tmp_path / 'other').trunks(WINDOWS, [INNER])[0]
    assert together[1].tokens.equal(alone.tokens) and together[1].outputs[3].equal(alone.outputs[3])
    assert alone.tokens.equal(clip().trunks(WINDOWS, [INNER])[0].tokens)
    assert together[0].tokens.equal(clip(tmp_path).trunks(WINDOWS, [LAST])[0].tokens)


def test_what_decides_tokens_has_files_of_its_own(tmp_path):
    """Weights, precision, and how positions are interpolated."""
    clip(tmp_path).trunks(WINDOWS[:1], [LAST, TrunkNeed(11, positions='resclip')])
    clip(tmp_path, precision='bf16').trunks(WINDOWS[:1], [LAST])
    FrozenCLIP(arch=dict(TINY, embed_dim=32), pretrained=None, keep=tmp_path).trunks(WINDOWS[:1], [LAST])
    assert len(files(tmp_path)) == 4


def test_a_damaged_file_is_named(tmp_path):
    clip(tmp_path).trunks(WINDOWS[:1], [LAST])
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BenchError, match=f'{path} is damaged .*; delete it'):
        clip(tmp_path).trunks(WINDOWS[:1], [LAST])


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    return TinyBench(tmp_path_factory.mktemp('kept'))


def test_a_result_says_that_its_trunk_was_rounded(bench, capfd):
    def run(name, *more):
        ended = bench.run(capfd, *more, work_dir=bench.folder / name)
        assert ended.code == 0, ended.stderr
        return bench.result(bench.folder / name)

    keep = '--keep-trunk', str(bench.folder / 'trunk')
    plain, kept, again = run('plain'), run('kept', *keep), run('again', *keep)
    assert kept['settings']['precision'] == 'fp32, trunk kept in fp16'
    assert kept['hashes']['run'] == again['hashes']['run'] != plain['hashes']['run']
    assert kept['metrics'] == again['metrics']
    moved = run('moved', '--keep-trunk', str(bench.folder / 'elsewhere'))
    assert moved['hashes']['run'] == kept['hashes']['run'], 'where it is kept decides nothing'


def test_a_disk_without_room_is_told_before_anything_runs(bench, capfd, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    folder = bench.folder / 'small'
    ended = bench.run(capfd, '--keep-trunk', str(folder), work_dir=bench.folder / 'no room')
    assert ended.code != 0 and not (bench.folder / 'no room').exists() and not files(folder)
    assert f'--keep-trunk: {folder} needs about ' in ended.stderr and 'has room for 1.0 kB' in ended.stderr


def test_what_is_said_beforehand_is_what_is_written(bench, capfd):
    folder = bench.folder / 'counted'
    ended = bench.run(capfd, '--keep-trunk', str(folder), work_dir=bench.folder / 'count', options={'model.window': 48})
    assert ended.code == 0, ended.stderr
    settings = {'model.backbone.arch': str(bench.arch), 'model.window': 48, 'model.stride': 16}
    settings |= {'model.backbone.keep': str(folder), 'test_dataloader.dataset.pipeline.1.scale': (2048, 48)}
    config = load_config('naclip_voc21', str(bench.folder / 'data'), 'none', None, settings)
    header = 128
    written = sum(path.stat().st_size - header for path in files(folder))
    assert estimate(Pass([Leaf('naclip_voc21', config)]), Options()).kept == written > 0
