"""Configs and methods as MMSegmentation itself uses them, without a line of the suite's own run."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import init_model
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from plans import tiny_leaf
from tiny import TinyBench

from naclip_bench.bundled import CONFIGS
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.opened import Pass
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.methods.base import TrainingFreeSegmentor


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path, classes=(0, 3, 15, 18), count=5)


def test_mmengines_runner_gives_the_same_numbers(bench, tmp_path):
    leaf = tiny_leaf(bench)
    (result,) = run([Pass([leaf])], Selection(), Store(tmp_path / 'store')).values()
    config = Config.fromfile(CONFIGS / 'naclip_voc21.py')
    config.merge_from_dict(leaf.overrides)
    config.model.backbone.pretrained = None
    config.test_dataloader.dataset.data_root = str(bench.voc)
    config.work_dir = str(tmp_path / 'work')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        metrics = Runner.from_cfg(config).test()
    assert metrics == {name: pytest.approx(value) for name, value in result.record['metrics'].items()}


def test_mmsegs_api_builds_and_runs_a_method(bench):
    config = tiny_leaf(bench).config
    model = init_model(config, None, device='cpu')
    assert isinstance(model, TrainingFreeSegmentor) and isinstance(MODELS.build(config.model), TrainingFreeSegmentor)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8))
    sample = SegDataSample(metainfo=dict(ori_shape=(80, 120)))
    (segmented,) = model.test_step(dict(inputs=[pixels], data_samples=[sample]))
    assert segmented.pred_sem_seg.data.shape == (1, 80, 120)
