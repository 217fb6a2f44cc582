"""Conversions of masks, each from its source's real format, every pixel against what was worked out by hand."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from labels import cut, load, save, save_images, state
from PIL import Image
from tiny import COMMAND, run_here

from naclip_bench import parallel
from naclip_bench.data import masks
from naclip_bench.data.cityscapes import EVALUATED, LABEL_IDS, convert_cityscapes
from naclip_bench.data.coco import (
    OBJECT_SUFFIXES,
    UNUSED_CATEGORIES,
    convert_coco_object,
    convert_coco_stuff,
    object_labels,
    stuff_labels,
)
from naclip_bench.errors import BenchError

# ---- the way of a mask, whatever it holds


def plus_one(path: Path) -> np.ndarray:
    return masks.read_labels(path) + np.uint8(1)


def plus_one_where_it_can(path: Path) -> np.ndarray:
    if path.stem == '7':
        raise BenchError(f'{path} is number seven')
    return plus_one(path)


@pytest.fixture
def jobs(tmp_path: Path) -> list[tuple[Path, Path]]:
    sources = [save(tmp_path / 'raw' / f'{number}.png', [[number, 9]]) for number in range(20)]
    return [(path, tmp_path / 'new' / path.name) for path in sources]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes take a second to start; tests of them have two."""
    monkeypatch.setattr(parallel, 'cores', lambda: 1)


@pytest.fixture
def two_cores(one_core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, 'cores', lambda: 2)


def test_a_log_tells_how_far_it_is(jobs, monkeypatch, capfd):
    monkeypatch.setattr(parallel, 'LOG_EVERY', 0)
    masks.convert_masks(jobs[:2], plus_one, 'test')
    assert capfd.readouterr().err == 'test masks: 1 of 2\ntest masks: 2 of 2\n'


def test_a_disk_that_fills_up_names_the_mask(jobs, monkeypatch):
    def full(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', full)
    with pytest.raises(BenchError, match=r'^cannot write \S+/new/0\.png: the disk is full; free some space'):
        masks.convert_masks(jobs, plus_one, 'test')
    assert not list(jobs[0][1].parent.iterdir())


def process_of(job: int) -> tuple[int, int]:
    return job, os.getpid()


def test_results_come_in_order_from_other_processes(two_cores):
    numbers, processes = zip(*parallel.over_cores(process_of, range(40), 'numbers'), strict=True)
    assert numbers == tuple(range(40))
    assert os.getpid() not in processes


def test_converted_in_processes(jobs, two_cores):
    masks.convert_masks(jobs, plus_one, 'test')
    assert [load(target) for _, target in jobs] == [[[number + 1, 10]] for number in range(20)]


def test_an_interrupted_conversion_goes_on(jobs, tmp_path):
    """What is there whole is kept, what is damaged is made anew, and what a killed run left disappears."""
    masks.convert_masks(jobs, plus_one, 'test')
    before = state(tmp_path)
    masks.convert_masks(jobs, plus_one, 'test')
    assert state(tmp_path) == before
    jobs[3][1].unlink()
    cut(jobs[4][1])
    jobs[5][1].write_bytes(b'')
    (tmp_path / 'new' / '3.png.tmp').write_bytes(b'half a mask')
    masks.convert_masks(jobs, plus_one, 'test')
    after = state(tmp_path)
    assert {path: content for path, (_, content) in after.items()} == {
        path: content for path, (_, content) in before.items()
    }
    assert {path for path in after if after[path] != before[path]} == {jobs[number][1] for number in (3, 4, 5)}


def test_error_in_a_process_keeps_what_is_finished(jobs, two_cores, tmp_path):
    with pytest.raises(BenchError, match=r'raw/7\.png is number seven'):
        masks.convert_masks(jobs, plus_one_where_it_can, 'test')
    # In the order of the jobs: those before it are finished, and no half of one is there.
    assert {f'{number}.png' for number in range(7)} <= {path.name for path in (tmp_path / 'new').iterdir()}
    assert all(masks.is_whole(path) for path in (tmp_path / 'new').iterdir())
    masks.convert_masks(jobs, plus_one, 'test')
    assert [load(target) for _, target in jobs] == [[[number + 1, 10]] for number in range(20)]


def killed(job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_process_is_told(two_cores):
    with pytest.raises(BenchError, match=r'test: a process was killed, most likely for want of memory$'):
        list(parallel.over_cores(killed, range(20), 'test'))


def test_missing_sources_are_told_before_anything_is_done(jobs, tmp_path):
    jobs[2][0].unlink()
    jobs[5][0].unlink()
    with pytest.raises(BenchError, match=rf'^test: 2 of 20 files are missing, the first {jobs[2][0]}; unpack again'):
        masks.convert_masks(jobs, plus_one, 'test')
    assert not (tmp_path / 'new').exists()


def test_target_that_cannot_be_written(jobs, tmp_path):
    (tmp_path / 'new').write_text('a file where a folder should be')
    with pytest.raises(BenchError, match=r'cannot write .*new/0\.png: File exists'):
        masks.convert_masks(jobs, plus_one, 'test')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        pytest.param(lambda path: save(path, np.zeros((2, 2, 3))), '3 channels; it must hold one label', id='RGB'),
        pytest.param(cut, 'is truncated', id='cut'),
        pytest.param(lambda path: path.write_text('a page'), 'cannot be decoded', id='no image'),
    ],
)
def test_source_that_is_no_mask(jobs, damage, message):
    damage(jobs[1][0])
    with pytest.raises(BenchError, match=rf'raw/1\.png.*{message}'):
        masks.convert_masks(jobs, plus_one, 'test')


def test_palette_masks_are_read_by_index(tmp_path):
    image = Image.fromarray(np.array([[0, 200]], np.uint8))
    image.putpalette([255 - channel // 3 for channel in range(768)])
    image.save(tmp_path / 'palette.png')
    assert Image.open(tmp_path / 'palette.png').mode == 'P'
    assert masks.read_labels(tmp_path / 'palette.png').tolist() == [[0, 200]]


# ---- COCO


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Both archives unpacked in one place: images and maps share ``val2017``."""
    folder = tmp_path / 'unpacked' / 'val2017'
    save_images(folder, '000000000139.jpg', '000000000285.jpg')
    # person, stop sign, toothbrush, unlabeled; banner, wood, the last thing again, unlabeled.
    save(folder / '000000000139.png', [[0, 12, 89, 255], [91, 181, 89, 255]])
    save(folder / '000000000285.png', [[255, 255], [0, 0]])
    return tmp_path / 'unpacked'


def test_coco_stuff(coco, tmp_path):
    convert_coco_stuff(coco, tmp_path / 'data')
    root = tmp_path / 'data' / 'coco_stuff164k'
    labels = root / 'annotations' / 'val2017'
    assert load(labels / '000000000139_labelTrainIds.png') == [[0, 11, 79, 255], [80, 170, 79, 255]]
    assert load(labels / '000000000285_labelTrainIds.png') == [[255, 255], [0, 0]]
    assert len(list(labels.iterdir())) == 2
    assert sorted(path.name for path in (root / 'images' / 'val2017').iterdir()) == [
        '000000000139.jpg',
        '000000000285.jpg',
    ]
    # Hard links: the images of two datasets take the space of one.
    assert (root / 'images' / 'val2017' / '000000000139.jpg').samefile(coco / 'val2017' / '000000000139.jpg')


def test_images_are_copied_where_there_are_no_hard_links(coco, tmp_path, monkeypatch):
    def refused(*paths: Path) -> None:
        raise OSError('no links here')

    monkeypatch.setattr(os, 'link', refused)
    convert_coco_stuff(coco, tmp_path / 'data')
    source = coco / 'val2017' / '000000000139.jpg'
    copy = tmp_path / 'data' / 'coco_stuff164k' / 'images' / 'val2017' / source.name
    assert copy.read_bytes() == source.read_bytes() and not copy.samefile(source)
    before = state(tmp_path)
    convert_coco_stuff(coco, tmp_path / 'data')
    assert state(tmp_path) == before


@pytest.mark.parametrize(('unlabeled', 'label'), [('background', 0), ('ignored', 255)])
def test_coco_object(coco, tmp_path, unlabeled, label):
    convert_coco_object(coco, tmp_path / 'data', unlabeled)
    labels = tmp_path / 'data' / 'coco_object' / 'annotations' / 'val2017'
    suffix = OBJECT_SUFFIXES[unlabeled]
    assert load(labels / f'000000000139{suffix}') == [[1, 12, 80, label], [0, 0, 80, label]]
    assert load(labels / f'000000000285{suffix}') == [[label, label], [1, 1]]
    assert (tmp_path / 'data' / 'coco_object' / 'images' / 'val2017' / '000000000285.jpg').is_file()


def test_both_variants_of_coco_object_lie_side_by_side(coco, tmp_path):
    convert_coco_object(coco, tmp_path / 'data')
    before = state(tmp_path / 'data')
    convert_coco_object(coco, tmp_path / 'data', 'ignored')
    after = state(tmp_path / 'data')
    assert before.items() < after.items()
    assert len(after) == len(before) + 2


def test_train_ids_have_the_classes_of_mmseg(tmp_path):
    """By categories whose names are known from COCO's list."""
    from mmseg.datasets import COCOStuffDataset

    known = {13: 'stop sign', 27: 'backpack', 90: 'toothbrush', 92: 'banner', 157: 'sky-other', 182: 'wood'}
    labels = stuff_labels(save(tmp_path / 'map.png', [[category - 1 for category in known]]))
    assert [COCOStuffDataset.METAINFO['classes'][label] for label in labels[0]] == list(known.values())


@pytest.mark.parametrize('label', [*(category - 1 for category in UNUSED_CATEGORIES), 182, 254])
def test_labels_that_coco_never_used(tmp_path, label):
    with pytest.raises(BenchError, match=rf'map\.png holds label {label}; expected: 0\.\.181 without'):
        stuff_labels(save(tmp_path / 'map.png', [[0, 5, label, 255]]))


def test_coco_against_the_published_pairs(real_data, tmp_path):
    """Train ids are those that mmseg's converter made, and COCO-Object's where an image is in both sets."""
    folder = real_data / 'coco_stuff164k' / 'annotations' / 'val2017'
    published = sorted(folder.glob('*_labelTrainIds.png'))
    assert len(published) == 12
    compared = 0
    for path in published:
        name = path.name.removesuffix('_labelTrainIds.png')
        raw = folder / f'{name}.png'
        np.testing.assert_array_equal(stuff_labels(raw), masks.read_labels(path))
        things = real_data / 'coco_object' / 'annotations' / 'val2017' / f'{name}_instanceTrainIds.png'
        if things.exists():
            compared += 1
            np.testing.assert_array_equal(object_labels('background', raw), masks.read_labels(things))
    assert compared
    # A folder that was converted before, maps beside their train ids, is a source too.
    convert_coco_stuff(real_data / 'coco_stuff164k', tmp_path)
    assert len(list((tmp_path / 'coco_stuff164k' / 'annotations' / 'val2017').iterdir())) == 12


@pytest.mark.parametrize('convert', [convert_coco_stuff, convert_coco_object])
def test_converting_coco_again_changes_nothing(coco, tmp_path, convert):
    convert(coco, tmp_path / 'data')
    before = state(tmp_path)
    convert(coco, tmp_path / 'data')
    assert state(tmp_path) == before


@pytest.mark.parametrize('convert', [convert_coco_stuff, convert_coco_object])
@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        pytest.param(lambda folder: (folder / '000000000285.png').unlink(), '1 of 2 files .*285.png', id='map'),
        pytest.param(lambda folder: [p.unlink() for p in folder.glob('*.png')], r'found no val2017/\*', id='maps'),
        pytest.param(
            lambda folder: [p.rename(f'{p.with_suffix("")}_labelTrainIds.png') for p in folder.glob('*.png')],
            r'found no val2017/\*',
            id='train ids alone',
        ),
        pytest.param(lambda folder: [p.unlink() for p in folder.glob('*.jpg')], r'val2017/\*\.jpg in', id='images'),
        pytest.param(lambda folder: save(folder / '000000000139.png', [[11]]), '139.png holds label 11;', id='label'),
    ],
)
def test_coco_source_that_is_not_whole(coco, tmp_path, convert, damage, message):
    damage(coco / 'val2017')
    with pytest.raises(BenchError, match=message):
        convert(coco, tmp_path / 'data')


# ---- Cityscapes

POLYGONS = """{"imgHeight": 4, "imgWidth": 8, "objects": [
    {"label": "road", "polygon": [[0, 2], [7, 2], [7, 3], [0, 3]]},
    {"label": "cargroup", "polygon": [[2, 1], [3, 1], [3, 2], [2, 2]]},
    {"label": "license plate", "polygon": [[2, 2], [2, 2], [2, 2]]},
    {"label": "bicycle", "deleted": 1, "polygon": [[0, 0], [7, 0], [7, 3], [0, 3]]},
    {"label": "bridge", "polygon": [[6, 0], [7, 0], [7, 0], [6, 0]]}]}"""
#: As labelIds.png has it: road 7, car 26, bridge 15, unlabeled 0. A license plate has no label id.
DRAWN = [[0, 0, 0, 0, 0, 0, 15, 15], [0, 0, 26, 26, 0, 0, 0, 0], [7, 7, 26, 26, 7, 7, 7, 7], [7] * 8]
TRAIN_IDS = [[255] * 8, [255, 255, 13, 13, 255, 255, 255, 255], [0, 0, 13, 13, 0, 0, 0, 0], [0] * 8]


def save_drawn(folder: Path) -> None:
    save(folder / 'aachen_0_gtFine_labelIds.png', DRAWN)


def save_polygons(folder: Path) -> None:
    pytest.importorskip('cityscapesscripts')
    (folder / 'aachen_0_gtFine_polygons.json').write_text(POLYGONS)


def save_both(folder: Path) -> None:
    """The label ids count; polygons are only looked at where they are missing."""
    save_drawn(folder)
    (folder / 'aachen_0_gtFine_polygons.json').write_text('no JSON')


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    save_images(tmp_path / 'unpacked' / 'leftImg8bit' / 'val' / 'aachen', 'aachen_0_leftImg8bit.png')
    (tmp_path / 'unpacked' / 'gtFine' / 'val' / 'aachen').mkdir(parents=True)
    return tmp_path / 'unpacked'


@pytest.mark.parametrize('save_annotation', [save_drawn, save_polygons, save_both])
def test_cityscapes(cityscapes, tmp_path, save_annotation):
    save_annotation(cityscapes / 'gtFine' / 'val' / 'aachen')
    convert_cityscapes(cityscapes, tmp_path / 'data')
    root = tmp_path / 'data' / 'cityscapes'
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob('*.*'))
    target = 'gtFine/val/aachen/aachen_0_gtFine_labelTrainIds.png'
    assert files == [target, 'leftImg8bit/val/aachen/aachen_0_leftImg8bit.png']
    assert load(root / target) == TRAIN_IDS
    before = state(tmp_path)
    convert_cityscapes(cityscapes, tmp_path / 'data')
    assert state(tmp_path) == before


def test_cityscapes_label_ids_are_its_own():
    labels = pytest.importorskip('cityscapesscripts.helpers.labels').labels
    evaluated = {label.trainId: label.id for label in labels if label.trainId not in (-1, 255)}
    assert [evaluated[train_id] for train_id in range(19)] == list(EVALUATED)
    assert max(label.id for label in labels) == LABEL_IDS - 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        pytest.param('no JSON', 'holds no polygons of Cityscapes', id='no JSON'),
        pytest.param(POLYGONS.replace('road', 'raod'), 'holds no polygons of Cityscapes', id='unknown label'),
    ],
)
def test_cityscapes_polygons_that_are_none(cityscapes, tmp_path, capfd, content, message):
    pytest.importorskip('cityscapesscripts')
    (cityscapes / 'gtFine' / 'val' / 'aachen' / 'aachen_0_gtFine_polygons.json').write_text(content)
    with pytest.raises(BenchError, match=message):
        convert_cityscapes(cityscapes, tmp_path / 'data')
    assert capfd.readouterr().out == ''


def test_cityscapes_train_ids_for_label_ids(cityscapes, tmp_path):
    """255 is no label id: a mask that holds it was converted already."""
    save(cityscapes / 'gtFine' / 'val' / 'aachen' / 'aachen_0_gtFine_labelIds.png', TRAIN_IDS)
    with pytest.raises(BenchError, match=r'labelIds\.png holds label 255; expected: 0\.\.33'):
        convert_cityscapes(cityscapes, tmp_path / 'data')


def test_cityscapes_without_annotations(cityscapes, tmp_path):
    with pytest.raises(BenchError, match=r'Cityscapes: found no gtFine/val/\*/\*_gtFine_\* in'):
        convert_cityscapes(cityscapes, tmp_path / 'data')


def test_the_benchmark_of_data_runs(capfd):
    command = COMMAND.with_name('benchmark_data.py')
    outcome = run_here(capfd, ['--images', '3', '--repeats', '1'], command)
    assert (outcome.code, outcome.stderr) == (0, '')
    assert outcome.stdout.count('convert') == 2 and '│ check ' in outcome.stdout
    assert run_here(capfd, ['--repeats', '0'], command).stderr == (
        'error: 1000 images and 0 repeats; both must be at least 1\n'
    )
