"""Numbers equal to mmseg's, and runs that come out the same however they are spread or interrupted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmengine.logging import MMLogger, print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.evaluation import IoUMetric
from PIL import Image
from plans import tiny_leaf
from processes import run_spread
from tiny import TinyBench, assert_kept

from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.datasets.check import select
from naclip_bench.datasets.loading import LoadMask
from naclip_bench.datasets.sampler import FixedBatches
from naclip_bench.errors import BenchError
from naclip_bench.evaluation import run as run_module
from naclip_bench.evaluation.confusion import COPIES, Scores, batch_cells, confusion_matrix, to_cells
from naclip_bench.evaluation.journal import Journal
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.metric import ConfusionMetric
from naclip_bench.evaluation.opened import OpenPass, Pass
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.json_files import write_json

IGNORED = 255


def total_confusion(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> np.ndarray:
    matrices = (confusion_matrix(torch.from_numpy(p), torch.from_numpy(t), classes) for p, t in pairs)
    return sum(matrix.numpy() for matrix in matrices)


def mmseg_scores(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> dict[str, np.ndarray]:
    """aAcc, IoU and Acc of mmseg, before it rounds them."""
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t), classes, IGNORED) for p, t in pairs
    ]
    return IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)), metrics=['mIoU'])


def assert_equal_to_mmseg(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> None:
    ours, theirs = Scores.of(total_confusion(pairs, classes)), mmseg_scores(pairs, classes)
    close = {'rtol': 1e-5, 'atol': 0, 'equal_nan': True}
    np.testing.assert_allclose(ours.iou, theirs['IoU'], **close)
    np.testing.assert_allclose(ours.accuracy, theirs['Acc'], **close)
    np.testing.assert_allclose(ours.aAcc, theirs['aAcc'], **close)
    for mean, values in ((ours.mIoU, theirs['IoU']), (ours.mAcc, theirs['Acc'])):
        present = values[~np.isnan(values)]
        np.testing.assert_allclose(mean, present.mean() if present.size else np.nan, **close)


# ---- the confusion matrix


@st.composite
def labeled_images(draw: st.DrawFn) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """(prediction, truth) of several images; classes may be absent from either, and any pixel may be ignored."""
    classes = draw(st.integers(2, 7))
    some = st.lists(st.integers(0, classes - 1), min_size=1, unique=True)
    predicted, true = draw(some), [*draw(some), IGNORED]
    pairs = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
        pairs.append(
            tuple(draw(hnp.arrays(np.int64, shape, elements=st.sampled_from(labels))) for labels in (predicted, true))
        )
    return pairs, classes


@given(labeled_images())
def test_scores_equal_mmseg(images):
    assert_equal_to_mmseg(*images)


@given(labeled_images())
def test_confusion_matrix_counts_every_scored_pixel_where_it_belongs(images):
    pairs, classes = images
    expected = np.zeros((classes, classes), np.int64)
    for prediction, truth in pairs:
        for predicted, true in zip(prediction.flat, truth.flat, strict=True):
            if true != IGNORED:
                expected[true, predicted] += 1
    confusion = total_confusion(pairs, classes)
    assert confusion.dtype == np.int64 and (confusion == expected).all()


@pytest.mark.parametrize('copies', [1, 64])
@given(images=labeled_images())
def test_a_batch_is_counted_as_its_images_are(images, copies):
    pairs, classes = images
    pairs = [tuple(map(torch.from_numpy, pair)) for pair in pairs]
    with patch.dict(COPIES, cpu=copies):
        cells = batch_cells(pairs, classes)
    assert len(cells) == len(pairs)
    for of_image, pair in zip(cells, pairs, strict=True):
        assert np.array_equal(of_image, to_cells(confusion_matrix(*pair, classes)))


@given(labeled_images())
def test_frequency_weighted_iou(images):
    confusion = total_confusion(*images)
    scores, frequency = Scores.of(confusion), confusion.sum(1) / max(confusion.sum(), 1)
    expected = sum(f * iou for f, iou in zip(frequency, scores.iou, strict=True) if f) if confusion.any() else np.nan
    np.testing.assert_allclose(scores.fwIoU, expected, rtol=1e-12)
    assert scores.percent().keys() == {'mIoU', 'aAcc', 'mAcc', 'fwIoU'}


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_narrow_labels_count_the_same(dtype):
    """171 classes make 29,243 cells, more than a byte counts."""
    labels = torch.arange(171 * 3).view(27, 19)
    prediction, truth = labels % 171, (labels * 7 + 3) % 171
    narrow = confusion_matrix(prediction.to(dtype), truth.to(dtype), 171)
    assert narrow.equal(confusion_matrix(prediction, truth, 171)) and narrow.sum() == labels.numel()


@pytest.mark.parametrize(
    ('prediction', 'truth'), [(3, 0), (-1, 0), (0, 3), (0, -1), (0, 254), (IGNORED, 1)], ids=lambda label: str(label)
)
def test_label_outside_the_classes_raises(prediction, truth):
    predictions, truths = torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64)
    predictions[0, 1], truths[0, 1] = prediction, truth
    with pytest.raises(ValueError, match='1 scored pixels have a label outside the 3 classes'):
        confusion_matrix(predictions, truths, 3)
    good = torch.zeros_like(truths)
    with pytest.raises(ValueError, match='1 scored pixels have a label outside the 3 classes'):
        batch_cells([(good, good), (predictions, truths)], 3)
    # Where the truth is ignored, nothing is scored and any prediction will do.
    truths[0, 1] = IGNORED
    assert confusion_matrix(predictions, truths, 3).sum() == 3


# ---- real masks


@pytest.fixture(scope='module', params=['naclip_voc21', 'naclip_voc20', 'naclip_ade20k'])
def real_masks(
    request: pytest.FixtureRequest, real_data: Path
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """(noisy copy, ground truth) of every image, and the names of the classes."""
    dataset = build_dataset(load_config(request.param, data_root=str(real_data)).test_dataloader.dataset)
    names = dataset.metainfo['classes']
    ours, theirs, random = LoadMask(len(names)), LoadAnnotations(), np.random.default_rng(0)
    pairs = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        with Image.open(info['img_path']) as image:
            info['ori_shape'] = image.size[::-1]
        truth = ours.transform(dict(info, seg_fields=[]))['gt_seg_map']
        assert (truth == theirs.transform(dict(info, seg_fields=[]))['gt_seg_map']).all()
        noise = random.integers(0, len(names), truth.shape)
        noisy = (random.random(truth.shape) < 0.2) | (truth == IGNORED)
        pairs.append((np.where(noisy, noise, truth), truth.astype(np.int64)))
    return pairs, names


def test_scores_equal_mmseg_on_real_masks(real_masks):
    pairs, names = real_masks
    assert len(pairs) > 20
    assert_equal_to_mmseg(pairs, len(names))


def test_metric_equals_mmseg_to_its_two_decimals_on_real_masks(real_masks):
    pairs, names = real_masks
    metrics = [ConfusionMetric(), IoUMetric(iou_metrics=['mIoU'])]
    for metric in metrics:
        metric.dataset_meta = {'classes': names}
        for index, (prediction, truth) in enumerate(pairs):
            metric.process(None, [sample_of(index, prediction, truth)])
    ours, theirs = (metric.evaluate(len(pairs)) for metric in metrics)
    assert 20 < theirs['mIoU'] < 90
    assert {name: round(ours[name], 2) for name in theirs} == pytest.approx(theirs, abs=1e-9)


def sample_of(index: int, prediction: np.ndarray, truth: np.ndarray) -> dict:
    maps = {'pred_sem_seg': prediction, 'gt_sem_seg': truth}
    return {'sample_idx': index, **{key: {'data': torch.from_numpy(value)[None]} for key, value in maps.items()}}


def test_metric_raises_where_an_image_is_missing():
    metric = ConfusionMetric()
    metric.dataset_meta = {'classes': ('a', 'b')}
    labels = np.zeros((2, 3), np.int64)
    metric.process(None, [sample_of(0, labels, labels), sample_of(1, labels, labels)])
    assert metric.evaluate(2)['mIoU'] == 100
    with pytest.raises(BenchError, match='2 images were scored, but the dataset has 3'):
        metric.evaluate(3)


# ---- which images, and which together


def batches_of(length: int, size: int, rank: int, processes: int, finished: Sequence[int] = ()) -> list[list[int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('naclip_bench.datasets.sampler.get_dist_info', lambda: (rank, processes))
        batches = FixedBatches(SimpleNamespace(dataset=range(length)), size)
    batches.leave_out(finished)
    assert len(batches) == len(list(batches))
    return list(batches)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 6))
def test_batches_are_the_same_over_any_number_of_processes(length, size, processes):
    alone = batches_of(length, size, 0, 1)
    spread = [batch for rank in range(processes) for batch in batches_of(length, size, rank, processes)]
    assert [index for batch in alone for index in batch] == list(range(length))
    assert all(len(batch) == size for batch in alone[:-1])
    assert sorted(spread) == alone


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 6), st.data())
def test_only_whole_batches_are_left_out(length, size, processes, data):
    finished = data.draw(st.sets(st.integers(0, length - 1)))
    left = [batch for rank in range(processes) for batch in batches_of(length, size, rank, processes, list(finished))]
    expected = [batch for batch in batches_of(length, size, 0, 1) if not set(batch) <= finished]
    assert sorted(left) == expected


def test_selected_images(tmp_path):
    names = ['a/one', 'a/two', 'b/three', 'b/four']
    subset = tmp_path / 'subset.txt'
    subset.write_text('four.png\n\n  b/three \na/one.jpg\nb/four\n')
    assert select(names, None, None) == [0, 1, 2, 3]
    assert select(names, 2, None) == [0, 1] and select(names, 9, None) == [0, 1, 2, 3]
    assert select(names, None, subset) == [0, 2, 3]
    assert select(names, 2, subset) == [0, 2]


# ---- whole runs


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[TinyBench]:
    """One thread, as a process beside others has, so that sums are added up in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield TinyBench(tmp_path, classes=(0, 3, 15, 18), count=5)
    torch.set_num_threads(threads)


def test_result_file(bench, capfd):
    assert bench.run(capfd, config='naclip_voc20', options={'model.logit_scale': 30}).code == 0
    text = (bench.work_dir / 'result.json').read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    assert record.keys() == {
        *('schema', 'date', 'method', 'dataset', 'protocol', 'note', 'overrides', 'random_weights', 'images'),
        *('metrics', 'pixels', 'per_class', 'settings', 'hashes', 'stands_on', 'versions', 'device', 'times', 'config'),
    }
    assert (record['method'], record['dataset'], record['protocol']) == ('NACLIP', 'voc20', 'common')
    assert record['overrides']['model.logit_scale'] == '30' and record['settings']['logit_scale'] == 30
    assert record['random_weights'] is True
    assert record['images'] == {
        'count': 5,
        'official': 1449,
        'official_list': {'name': 'voc', 'missing': 1449, 'extra': 5},
        'limit': None,
        'subset': None,
    }
    assert {'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'open_clip'} <= record['versions'].keys()

    scores = Scores.of(total_of(bench))
    assert record['metrics'] == scores.percent()
    assert [row['IoU'] for row in record['per_class']] == [none_for_nan(100 * iou) for iou in scores.iou]
    assert [row['Acc'] for row in record['per_class']] == [none_for_nan(100 * part) for part in scores.accuracy]
    assert None in [row['Acc'] for row in record['per_class']], 'a class that no mask has must be null'
    assert record['pixels'] == sum(row['pixels'] for row in record['per_class']) == total_of(bench).sum()


def none_for_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


def total_of(bench: TinyBench, work_dir: Path | None = None, classes: int = 20) -> np.ndarray:
    total = np.zeros((classes, classes), np.int64)
    for cells in bench.finished(work_dir).values():
        for truth, predicted, count in cells:
            total[truth, predicted] += count
    return total


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'deep' / 'result.json'
    write_json(path, {'a': float('nan'), 'b': [float('inf'), (1, 2.5)], 'c': {3: Path('x')}})
    assert json.loads(path.read_text()) == {'a': None, 'b': [None, [1, 2.5]], 'c': {'3': 'x'}}
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(json, 'dumps', lambda *_, **__: '{"half": "' + '\udcff')
        write_json(path, {})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


#: 5 images in batches of 2: the last batch is short, and two processes have shares of different sizes.
UNEVEN = {'config': 'naclip_voc20', 'options': {'test_dataloader.batch_size': 2}}


def test_two_processes_give_the_same_bits_as_one(bench, capfd):
    spread = bench.folder / 'two'
    assert bench.run(capfd, **UNEVEN).code == 0
    arguments = bench.arguments('--launcher', 'pytorch', work_dir=spread, **UNEVEN)
    outcome = run_spread(arguments, 2, bench.folder / 'said')
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.count('mIoU') == 1, 'only the first process prints'

    confusion = total_of(bench)
    assert (confusion.sum(0) > 0).sum() > 1, 'predictions of one class alone would prove nothing'
    assert bench.finished(spread).items() == bench.finished().items()
    assert (total_of(bench, spread) == confusion).all()
    one, two = bench.result(), bench.result(spread)
    assert all(one[key] == two[key] for key in ('metrics', 'per_class', 'hashes'))
    assert (one['device']['processes'], two['device']['processes']) == (1, 2)


def test_interrupted_run_goes_on_to_the_same_bits(bench, capfd, monkeypatch):
    whole, append = bench.folder / 'whole', Journal.append
    assert bench.run(capfd, work_dir=whole, **UNEVEN).code == 0

    def interrupted(journal: Journal, images: dict) -> None:
        if 'p2' in images:
            raise KeyboardInterrupt
        append(journal, images)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, 'append', interrupted)
        outcome = bench.run(capfd, **UNEVEN)
    kept, goes_on = f'2 of 5 images are finished and kept in {bench.work_dir / "store"}', 'the same command goes on'
    assert (outcome.code, outcome.stderr) == (130, f'note: {kept}; {goes_on} with the rest\ninterrupted\n')
    assert_kept(bench, ['p0', 'p1'])
    # A kill in the middle of writing leaves half a record.
    (journal,) = (bench.work_dir / 'store').rglob('*.npys')
    with journal.open('ab') as file:
        file.write(b'\x93NUMPY\x01\x00v\x00{"descr": ')
    resumed = bench.run(capfd, **UNEVEN)
    assert resumed.code == 0
    assert bench.finished() == bench.finished(whole)
    result, expected = bench.result(), bench.result(whole)
    last = resumed.stderr.splitlines()[-1]
    assert last.startswith('5/5 images') and f'mIoU {result["metrics"]["mIoU"]:.2f} (' in last, 'of all five images'
    assert result['metrics'] == expected['metrics'] and result['per_class'] == expected['per_class']
    assert (result['times']['images'], expected['times']['images']) == (3, 5)


def test_a_warning_after_a_run_goes_to_no_file_of_it(bench, capfd):
    assert bench.run(capfd).code == 0
    # As libraries do that set up logging anew, a server's among them.
    for handler in MMLogger.get_current_instance().handlers:
        handler.close()
    print_log("mmengine speaks through its current logger, which was the run's", 'current', logging.WARNING)


def test_a_run_that_is_finished_is_read(bench, capfd):
    assert bench.run(capfd).code == 0
    before = bench.result()
    outcome = bench.run(capfd)
    assert (outcome.code, outcome.stderr) == (0, '') and bench.result() == before
    last = outcome.stdout.splitlines()[-2]
    assert last.startswith(f'read from the store, nothing computed: finished {before["date"]}')


def test_a_part_that_was_read_is_told(bench, capfd):
    assert bench.run(capfd, '--limit', '2').code == 0
    assert '3 images computed now, the others read: ' in bench.run(capfd).stdout


def test_what_goes_on_behind_an_interruption_is_true(bench, capfd, monkeypatch):
    append = Journal.append

    def interrupted(journal: Journal, images: dict) -> None:
        if 'p2' in images:
            raise KeyboardInterrupt
        append(journal, images)

    monkeypatch.setattr(Journal, 'append', interrupted)
    assert 'a run that is not fresh goes on with the rest' in bench.run(capfd, '--fresh', **UNEVEN).stderr
    with pytest.raises(KeyboardInterrupt):
        run([Pass([tiny_leaf(bench)])], Selection(), Store(bench.folder / 'passing', lasting=False))
    assert capfd.readouterr().err == ''


def test_settings_of_the_loader_are_used(bench, monkeypatch):
    seen = {}
    monkeypatch.setattr(run_module, 'DataLoader', lambda data, **given: seen.update(given) or given)
    opened = OpenPass(Pass([tiny_leaf(bench, test_dataloader__timeout=7)]), Selection())
    opened.model.finished = opened.finished_members({key: set() for key in opened.keys})
    run_module._loader(opened)
    assert seen['timeout'] == 7 and seen['batch_sampler'].batch_size == 2 and 'batch_size' not in seen


def test_one_run_in_a_folder_at_a_time(bench, capfd):
    bench.work_dir.mkdir()
    with FileLock(bench.work_dir / '.lock'):
        outcome = bench.run(capfd)
    assert outcome.code == 1
    assert outcome.stderr.startswith(f'error: another run is using {bench.work_dir}; ') and not bench.finished()
    assert bench.run(capfd).code == 0


def test_lost_files_of_images_are_written_again(bench, capfd):
    """And nothing else is: their images are segmented once more, and the numbers stay."""
    drawn, saved = bench.folder / 'drawn', bench.folder / 'saved'
    more = ('--show-dir', str(drawn), '--save-predictions', str(saved))
    assert bench.run(capfd, *more, **UNEVEN).code == 0
    files = {path: path.read_bytes() for folder in (drawn, saved) for path in folder.iterdir()}
    assert len(files) == 10
    before, finished = bench.result(), bench.finished()
    (drawn / 'p1.png').unlink()
    (saved / 'p4.png').write_bytes(b'')
    assert bench.run(capfd, *more, **UNEVEN).code == 0
    assert {path: path.read_bytes() for path in files} == files
    assert bench.finished() == finished and bench.result()['metrics'] == before['metrics']
    assert bench.result()['times']['images'] == 3, 'whole batches: p0 and p1, and p4'
