"""Conversions of Pascal Context with 60 and with 459 classes, every pixel against what was worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from labels import cut, load, save_images, state
from pycocotools import mask as run_lengths
from scipy.io import savemat

from naclip_bench.data.pascal_context import FREQUENT, convert_pascal_context
from naclip_bench.data.pc459 import convert_pc459
from naclip_bench.errors import BenchError

NAMES = ['2008_000002', '2008_000003']


def test_the_59_categories_are_mmsegs_classes(real_data):
    from mmseg.datasets import PascalContextDataset

    lines = (real_data.parent / 'classnames' / 'CorrCLIPv2' / 'cls_context459.txt').read_text().splitlines()
    assert [lines[category - 1] for category in FREQUENT] == list(PascalContextDataset.METAINFO['classes'][1:])


def test_the_official_list_is_taken_where_none_is_given(context, tmp_path):
    with pytest.raises(BenchError, match=r'PC459 images: 5102 of 5104 files .*2008_000007\.jpg'):
        convert_pc459(context, tmp_path / 'data')


def save_matrices(folder: Path) -> None:
    (folder / 'trainval').mkdir(parents=True, exist_ok=True)
    # aeroplane 2, unlabeled 0, accordion 1 (not of the 59), wood 458, yarn 459; sky 360, person 284.
    arrays = [[[2, 0, 1], [458, 459, 2]], [[360, 284]]]
    for name, array in zip([*NAMES, '2008_000004'], [*arrays, [[1]]], strict=True):
        savemat(folder / 'trainval' / f'{name}.mat', {'LabelMap': np.array(array, np.uint16)}, do_compression=True)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """VOC2010 and the annotations, unpacked in one place."""
    folder = tmp_path / 'unpacked'
    save_images(folder / 'VOCdevkit' / 'VOC2010' / 'JPEGImages', *(f'{name}.jpg' for name in [*NAMES, '2008_000004']))
    save_matrices(folder)
    return folder


def test_pc459(context, tmp_path):
    convert_pc459(context, tmp_path / 'data', NAMES)
    root = tmp_path / 'data' / 'VOCdevkit' / 'VOC2010'
    assert load(root / 'SegmentationClassContext459' / '2008_000002.png') == [[1, 65535, 0], [457, 458, 1]]
    assert load(root / 'SegmentationClassContext459' / '2008_000003.png') == [[359, 283]]
    assert (root / 'ImageSets' / 'SegmentationContext' / 'val.txt').read_text() == '2008_000002\n2008_000003\n'
    # Only those of the list.
    assert sorted(path.stem for path in (root / 'JPEGImages').iterdir()) == NAMES
    assert len(list((root / 'SegmentationClassContext459').iterdir())) == 2


def test_pc60_from_matrices(context, tmp_path):
    convert_pascal_context(context, tmp_path / 'data', NAMES)
    root = tmp_path / 'data' / 'VOCdevkit' / 'VOC2010'
    assert load(root / 'SegmentationClassContext' / '2008_000002.png') == [[1, 0, 0], [59, 0, 1]]
    assert load(root / 'SegmentationClassContext' / '2008_000003.png') == [[47, 37]]
    assert (root / 'ImageSets' / 'SegmentationContext' / 'val.txt').read_text().split() == NAMES


@pytest.mark.parametrize('convert', [convert_pascal_context, convert_pc459])
@pytest.mark.parametrize(
    ('matrix', 'message'),
    [
        pytest.param(
            {'LabelMap': np.array([[460]], np.uint16)}, 'holds label 460; expected: 1..459, and 0', id='label'
        ),
        pytest.param({'labels': np.array([[1]], np.uint16)}, 'holds no LabelMap', id='name'),
        pytest.param({'LabelMap': np.array([[0.5]])}, 'is float64 .* not one label a pixel', id='type'),
        pytest.param(None, 'cannot be read', id='cut'),
    ],
)
def test_matrix_that_is_none(context, tmp_path, convert, matrix, message):
    path = context / 'trainval' / '2008_000003.mat'
    cut(path) if matrix is None else savemat(path, matrix)
    with pytest.raises(BenchError, match=rf'2008_000003\.mat.*{message}'):
        convert_pc459(context, tmp_path / 'data', NAMES)


def test_matrix_that_is_missing(context, tmp_path):
    (context / 'trainval' / '2008_000003.mat').unlink()
    with pytest.raises(BenchError, match=r'PC459: 1 of 2 files are missing, the first .*2008_000003\.mat'):
        convert_pc459(context, tmp_path / 'data', NAMES)


def test_image_that_is_missing(context, tmp_path):
    (context / 'VOCdevkit' / 'VOC2010' / 'JPEGImages' / '2008_000003.jpg').unlink()
    with pytest.raises(BenchError, match=r'PC459 images: 1 of 2 files are missing, the first .*2008_000003\.jpg'):
        convert_pc459(context, tmp_path / 'data', NAMES)


def test_a_list_of_ones_own_is_not_overwritten(context, tmp_path):
    path = tmp_path / 'data' / 'VOCdevkit' / 'VOC2010' / 'ImageSets' / 'SegmentationContext' / 'val.txt'
    path.parent.mkdir(parents=True)
    path.write_text('2008_000002\n')
    with pytest.raises(BenchError, match=r'val\.txt lists other images than the official 2; move it away'):
        convert_pc459(context, tmp_path / 'data', NAMES)
    assert path.read_text() == '2008_000002\n'


@pytest.mark.parametrize('convert', [convert_pascal_context, convert_pc459])
def test_converting_again_changes_nothing(context, tmp_path, convert):
    convert(context, tmp_path / 'data', NAMES)
    before = state(tmp_path)
    convert(context, tmp_path / 'data', NAMES)
    assert state(tmp_path) == before


# ---- the merged annotation file


def segment(image_id: int, category: int, segmentation: object) -> dict:
    """As the Detail API's file has it, with what the conversion does not read."""
    return {
        'id': 100 * image_id + category,
        'image_id': image_id,
        'category_id': category,
        'iscrowd': 0,
        'area': 1.0,
        'bbox': [0.0, 0.0, 1.0, 1.0],
        'parts': [],
        'segmentation': segmentation,
    }


def string_runs(rows: list[list[int]]) -> dict:
    """Run lengths as a string, as the file has them."""
    encoded = run_lengths.encode(np.asfortranarray(rows, np.uint8))
    return {'size': encoded['size'], 'counts': encoded['counts'].decode()}


def merged_file() -> dict:
    size = {'height': 3, 'width': 4}
    images = [
        {'image_id': 2008000003, 'file_name': '2008_000003.jpg', 'phase': 'val', 'height': 1, 'width': 2},
        {'image_id': 2008000002, 'file_name': '2008_000002.jpg', 'phase': 'val', **size},
        {'image_id': 2008000009, 'file_name': '2008_000009.jpg', 'phase': 'train', **size},
    ]
    segments = [
        # Sky, aeroplane over it, a category that is not of the 59 over both.
        segment(2008000002, 360, string_runs([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])),
        segment(2008000009, 284, string_runs([[1, 1, 1, 1]] * 3)),
        segment(2008000002, 2, {'size': [3, 4], 'counts': [3, 2, 7]}),  # column by column: rows 0 and 1 of column 1
        segment(2008000002, 284, [[3, 1, 4, 1, 4, 3, 3, 3]]),  # a polygon: rows 1 and 2 of column 3
        segment(2008000002, 1, string_runs([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])),
    ]
    return {'info': {}, 'images': images, 'annos_segmentation': segments, 'annos_boundary': [{'boundary': {}}]}


@pytest.fixture
def merged(context: Path) -> Path:
    """The merged file beside the matrices, which it goes before."""
    path = context / 'trainval_merged.json'
    path.write_text(json.dumps(merged_file()))
    return path


def test_pc60_from_the_merged_file(context, merged, tmp_path):
    convert_pascal_context(context, tmp_path / 'data', NAMES)
    masks = tmp_path / 'data' / 'VOCdevkit' / 'VOC2010' / 'SegmentationClassContext'
    assert load(masks / '2008_000002.png') == [[0, 1, 47, 47], [47, 1, 47, 37], [0, 0, 0, 37]]
    assert load(masks / '2008_000003.png') == [[0, 0]]
    assert sorted(path.stem for path in masks.iterdir()) == NAMES
    # Nothing of the way there is left, and the file alone does where the images are in place.
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['VOCdevkit']
    before = state(tmp_path / 'data')
    (masks / '2008_000002.png').unlink()
    convert_pascal_context(merged, tmp_path / 'data', NAMES)
    assert {path: content for path, (_, content) in state(tmp_path / 'data').items()} == {
        path: content for path, (_, content) in before.items()
    }


def with_category(content: dict) -> None:
    content['annos_segmentation'][0]['category_id'] = 460


def with_larger_segment(content: dict) -> None:
    content['annos_segmentation'][0]['segmentation'] = string_runs([[1] * 9] * 9)


def with_runs_lost(content: dict) -> None:
    content['annos_segmentation'][0]['segmentation'] = None


def with_image_lost(content: dict) -> None:
    del content['images'][0]


def with_other_keys(content: dict) -> None:
    content['images'][0]['id'] = content['images'][0].pop('image_id')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (with_category, '2008_000002 holds category 460; expected: 1..459'),
        (with_larger_segment, '2008_000002 holds a segment that does not fit 3x4; download'),
        (with_runs_lost, '2008_000002 holds a segment that does not fit'),
        (with_image_lost, 'lacks 1 of 2 images, the first 2008_000003'),
        (with_other_keys, "is not the Detail API's annotation file: it lacks 'image_id'"),
    ],
)
def test_merged_file_with_something_wrong(context, merged, tmp_path, change, message):
    content = merged_file()
    change(content)
    merged.write_text(json.dumps(content))
    with pytest.raises(BenchError, match=f'{merged}.*{message}'):
        convert_pascal_context(context, tmp_path / 'data', NAMES)


def test_merged_file_that_is_cut(context, merged, tmp_path):
    cut(merged)
    with pytest.raises(BenchError, match=rf'{merged} is no whole JSON file \(.*\); download it again'):
        convert_pascal_context(context, tmp_path / 'data', NAMES)
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['VOCdevkit']
