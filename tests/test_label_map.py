"""Classes in another order or fewer of them: labels are mapped as mmseg maps them, in runs and in checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmseg.datasets import PascalVOCDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from test_bad_inputs import assert_one_line
from tiny import COMMAND, TinyBench, run_here

from naclip_bench.checks.dataset import check_dataset
from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.datasets.loading import LoadMask
from naclip_bench.datasets.subset import shown_classes
from naclip_bench.errors import BenchError

CLASSES = PascalVOCDataset.METAINFO['classes']


@given(st.lists(st.sampled_from(CLASSES), min_size=1, unique=True), st.booleans(), st.data())
def test_labels_are_those_of_mmseg(tmp_path_factory, chosen, reduced, data):
    path = tmp_path_factory.getbasetemp() / 'mapped.png'
    known = st.sampled_from([*range(int(reduced), len(CLASSES) + int(reduced)), 255, *[0] * reduced])
    labels = np.array(data.draw(st.lists(known, min_size=8, max_size=8)), np.uint8).reshape(2, 4)
    Image.fromarray(labels).save(path)
    label_map = PascalVOCDataset.get_label_map(chosen)
    info = dict(seg_map_path=str(path), label_map=label_map, reduce_zero_label=reduced, ori_shape=(2, 4), seg_fields=[])
    expected = LoadAnnotations().transform(dict(info, seg_fields=[]))['gt_seg_map']
    assert LoadMask(len(CLASSES)).transform(info)['gt_seg_map'].tolist() == expected.tolist()


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path, classes=(0, 1, 2, 15))


def with_classes(bench: TinyBench, classes: tuple[str, ...], **settings: object):
    config = load_config('naclip_voc21', str(bench.folder / 'data'))
    config.test_dataloader.dataset.update(metainfo=dict(classes=classes), **settings)
    return config


def test_run_and_check_count_the_same_pixels(bench, capfd):
    """Bicycle (2) and person (15), in the other order; all else is left out."""
    names = bench.folder / 'names.txt'
    names.write_text('person\nbicycle\n')
    options = {
        'test_dataloader.dataset.metainfo.classes': '(person,bicycle)',
        'model.class_names': names,
        'model.prob_thd': 0.0,
    }
    outcome = bench.run(capfd, options=options)
    assert outcome.code == 0, outcome.stderr
    masks = [np.array(Image.open(bench.mask(name))) for name in bench.names]
    expected = {'person': sum(int((m == 15).sum()) for m in masks), 'bicycle': sum(int((m == 2).sum()) for m in masks)}
    assert {row['class']: row['pixels'] for row in bench.result()['per_class']} == expected

    config = with_classes(bench, ('person', 'bicycle'))
    contents = check_dataset(config).contents
    assert contents.scored == [15, 2] and contents.pixels[contents.scored].tolist() == list(expected.values())
    assert contents.findings() and not any(finding.problem for finding in contents.findings())
    assert set().union(*shown_classes(build_dataset(config.test_dataloader.dataset))) == {0, 1}


def test_label_outside_the_stored_classes(bench):
    bench.save_mask('p1', np.full((64, 96), 21, np.uint8))
    config = with_classes(bench, ('person', 'bicycle'))
    dataset = build_dataset(config.test_dataloader.dataset)
    with pytest.raises(BenchError, match=r'p1\.png holds label 21.*labels 0\.\.20'):
        dataset[1]
    assert any('outside 0..20 (21)' in finding.problem for finding in check_dataset(config).findings)


def test_left_out_classes_have_the_dataset_s_own_ignored_label(bench):
    dataset = build_dataset(with_classes(bench, ('person',), ignore_index=100).test_dataloader.dataset)
    for name in bench.names:
        labels = np.array(Image.open(bench.mask(name)))
        labels[labels == 255] = 100
        bench.save_mask(name, labels)
    assert np.unique(dataset[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 100]


def test_class_that_the_dataset_has_not(bench):
    with pytest.raises(BenchError, match=r'cannot make a "PascalVOCDataset".*not a subset'):
        build_dataset(with_classes(bench, ('person', 'unicorn')).test_dataloader.dataset)


@pytest.mark.parametrize(
    ('settings', 'fragments'),
    [
        ({'ignore_index': 0}, ('label 0 is not scored', 'set reduce_zero_label=True', 'take ignore_index away')),
        ({'ignore_index': 0, 'reduce_zero_label': True}, ('label 0 is not scored', 'leaves out label 0')),
        ({'ignore_index': 20}, ('label 20 is not scored', 'ignore_index=255')),
        ({'ignore_index': 21, 'reduce_zero_label': True}, ('label 21 is not scored', 'ignore_index=255')),
        ({'ignore_index': -1}, ('ignore_index is -1', '0 to 65535')),
        ({'foo': 1}, ('foo',)),
    ],
)
def test_settings_that_would_drop_a_class(bench, capfd, settings, fragments):
    options = {f'test_dataloader.dataset.{key}': value for key, value in settings.items()}
    assert_one_line(bench.run(capfd, options=options), *fragments)
    config = load_config('naclip_voc21', str(bench.folder / 'data'))
    config.test_dataloader.dataset.update(settings)
    assert any(fragments[0] in finding.problem for finding in check_dataset(config).findings)


def test_dataset_without_masks(bench, capfd):
    config = bench.folder / 'mine.py'
    base = str(COMMAND.parent.parent / 'configs' / 'naclip_voc21.py')
    dataset = dict(type='BaseSegDataset', data_root=str(bench.voc), data_prefix=dict(img_path='JPEGImages'))
    config.write_text(f'_base_ = {base!r}\ntest_dataloader = dict(dataset=dict(_delete_=True, **{dataset!r}))\n')
    message = 'the dataset "BaseSegDataset" has no masks'
    assert_one_line(run_here(capfd, [config, '--pretrained', 'none', '--work-dir', bench.work_dir]), message)
    outcome = run_here(capfd, [config], COMMAND.with_name('check_data.py'))
    assert outcome.code == 1 and outcome.stderr == '' and outcome.stdout.endswith('voc21: 1 check failed\n')
    (finding,) = check_dataset(load_config(str(config))).findings
    assert message in finding.problem
