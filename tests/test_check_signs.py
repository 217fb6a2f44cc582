"""Masks in range that mean something else are found, in a check and before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import PascalContextDataset59, PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image
from tiny_set import COUNT, SIZE, TinySet, assert_only, cut, make_set, own_data, tiny_lists

from naclip_bench.checks.dataset import check_dataset
from naclip_bench.checks.order import FREQUENT, order_findings
from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.datasets.splits import official_list
from naclip_bench.errors import BenchError


@pytest.fixture(autouse=True)
def lists(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    with tiny_lists(tmp_path) as names:
        yield names


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TinySet]:
    return partial(make_set, tmp_path)


# ---- masks of another kind


@pytest.mark.parametrize('lost', ['into background', 'in most masks'])
def test_void_border_lost(make, lost):
    voc = make('voc21')
    for name in voc.names[: COUNT if lost == 'into background' else 7]:
        voc.save(name, voc.labels(name) % 255)
    count = COUNT if lost == 'into background' else 7
    assert_only(voc.problems(), 'void', f'void border lost: {count} of {COUNT} masks', 'every object')


UNREDUCED = {'reduce_zero_label': False}

#: A dataset, the masks that lie in its place, settings, which checks find it besides "kind of masks", what it is taken
#: for, and the remedy.
OTHERS = {
    'ADE20K reduced already': ('ade20k', (range(150), 255), {}, ['void'], 'ADE20K with one taken off', 'one off again'),
    'Context reduced already': ('pc59', (range(59), 255), {}, ['void'], 'Context with one taken off', 'one off again'),
    'VOC reduced already': ('voc20', (range(20), 255), {}, [], 'VOC with one taken off', 'one off again'),
    'ADE20K not reduced': ('ade20k', 'ade20k', UNREDUCED, ['labels in range', 'void'], 'ADE20K,', 'zero_label=True'),
    'ADE20K not reduced, no 150': ('ade20k', (range(149), None), UNREDUCED, ['void'], 'ADE20K,', 'zero_label=True'),
    'VOC for Context': ('pc60', 'voc21', {}, ['void'], 'Pascal VOC,', 'swapped'),
    'Context for VOC': ('voc21', 'pc60', {}, ['labels in range', 'void'], 'Pascal Context,', 'swapped'),
    'Context for ADE20K': ('ade20k', 'pc60', {}, [], 'Pascal Context,', 'swapped'),
    'Context for COCO-Object': ('coco_object', 'pc60', {}, [], 'Pascal Context,', 'swapped'),
    'Stuff for Object': ('coco_object', 'coco_stuff', {}, ['labels in range'], 'COCO-Stuff in train ids,', 'convert'),
    'Object for Stuff': ('coco_stuff', 'coco_object', {}, ['void'], 'COCO-Object,', 'swapped'),
    'raw Stuff': ('coco_stuff', (range(182), 255), {}, ['labels in range'], "Stuff in its archive's ids,", 'convert'),
    'raw Cityscapes': ('cityscapes', (range(34), None), {}, ['labels in range', 'void'], 'label ids,', 'convert'),
    'Context for its 459': ('pc459', 'pc60', {}, ['one label a pixel'], 'Pascal Context,', 'swapped'),
    '459 for Context': ('pc60', 'pc459', {}, ['labels in range', 'void'], 'Context of 459', 'convert'),
    'unknown': ('coco_stuff', (range(100), 255), {}, [], 'no label above 99 in 12 masks', 'fewer classes'),
}


@pytest.mark.parametrize('case', OTHERS)
def test_masks_of_another_kind(make, case):
    key, masks, settings, checks, seen, mend = OTHERS[case]
    found = make(key, masks).problems(**settings)
    assert list(found) == [*checks, 'kind of masks']
    problem, remedy = found['kind of masks'].split(' | ')
    assert seen in problem and mend in remedy


def sort_palette(data: TinySet, name: str) -> None:
    """What programs that shrink PNGs do: colors stay, labels do not."""
    labels = data.labels(name)
    used = np.unique(labels.astype(int))[::-1]
    colors = np.array([*PascalVOCDataset.METAINFO['palette'], *[(224, 224, 192)] * 235], np.uint8)
    image = Image.fromarray(np.searchsorted(-used, -labels.astype(int)).astype(np.uint8))
    image.putpalette(colors[used].ravel().tolist())
    image.save(data.mask(name))


def test_sorted_palettes_are_told_by_check_and_run(make):
    voc = make('voc21')
    sort_palette(voc, voc.names[4])
    found = voc.problems()
    assert list(found) == ['order of the palette', 'void']
    assert (
        '1 of 12 masks have colors of the dataset at other labels than its own: voc_04' in found['order of the palette']
    )
    with pytest.raises(BenchError, match=r'1 of 12 masks have colors .*voc_04'):
        build_dataset(voc.config.test_dataloader.dataset)


def reorder(data: TinySet, frequent: tuple[str, ...], order: Sequence[int]) -> None:
    """Masks that show the ``frequent`` classes and one more each, their labels then in another order."""
    classes = PascalContextDataset59.METAINFO['classes']
    labels = [1 + classes.index(name) for name in frequent]
    for index, name in enumerate(data.names):
        mask = np.resize([*labels, 1 + index * 5 % 59, 0], SIZE).repeat(4, 0).repeat(4, 1)
        data.save(name, np.array([0, *order])[mask])
    data.save(data.names[0], np.resize(range(60), SIZE).repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize('key', ['pc59', 'pc60'])
def test_classes_in_another_order(make, key):
    context, classes = make(key), PascalContextDataset59.METAINFO['classes']
    frequent = FREQUENT['context', 59]
    reorder(context, frequent, range(1, 60))
    assert context.problems() == {}
    assert 'order of classes' in [finding.check for finding in check_dataset(context.config).findings]
    # The objects of Pascal VOC first, as other repositories have them.
    voc = [name for name in classes if name in {*PascalVOCDataset.METAINFO['classes'], 'table'}]
    theirs = [*voc, *(name for name in classes if name not in voc)]
    reorder(context, frequent, [1 + theirs.index(name) for name in classes])
    assert_only(context.problems(), 'order of classes', 'other class order', "another repository's")


@pytest.mark.parametrize(('split', 'count'), FREQUENT)
def test_frequent_classes_are_classes(split, count):
    kind = {59: 'PascalContextDataset59', 150: 'ADE20KDataset', 80: 'COCOObjectDataset', 171: 'COCOStuffDataset'}[count]
    classes = DATASETS.get(kind).METAINFO['classes']
    assert set(FREQUENT[split, count]) <= set(classes) and len(classes) - (classes[0] == 'background') == count
    # The classes as often as each other: nothing is said against them.
    assert not order_findings(split, classes, np.full(len(classes), 9), 60)[0].problem
    assert order_findings(split, classes, np.ones(len(classes)), 60) == []


def test_a_run_looks_into_a_few_masks(make, lists, tmp_path):
    """Void and format before anything slow; what is damaged is told when its turn comes."""
    names = [f'voc_{index:02}' for index in range(24)]
    (tmp_path / 'splits' / 'voc.txt').write_text('\n'.join(names))
    official_list.cache_clear()
    voc = make('voc21')
    settings = voc.config.test_dataloader.dataset
    cut(voc.mask(names[0]))
    assert len(build_dataset(settings)) == 24
    for name in names:
        voc.save(name, np.zeros((40, 32), np.uint8))
    with pytest.raises(BenchError, match='void border lost'):
        build_dataset(settings)
    Image.fromarray(np.zeros((40, 32), np.uint8)).save(voc.mask(names[0]), 'JPEG')
    with pytest.raises(BenchError, match=r'masks are in a lossy format.*voc_00'):
        build_dataset(settings)


def test_masks_whose_images_have_another_suffix_are_told_before_a_run(tmp_path):
    config = own_data(tmp_path, ('background', 'cat', 'dog'))
    for index, suffix in ((3, '.JPG'), (7, '.jpeg')):
        (tmp_path / 'images' / f'{index}.jpg').rename(tmp_path / 'images' / f'{index}{suffix}')
    settings = load_config(str(config)).test_dataloader.dataset
    with pytest.raises(
        BenchError, match=r'without their image: 2 \(3\.png, 7\.png\); images end in \.jpg.*\.JPG, \.jpeg'
    ):
        build_dataset(settings)
    # With a list, masks that are not in it are nobody's loss.
    (tmp_path / 'list.txt').write_text('0\n1\n')
    settings.ann_file = 'list.txt'
    assert len(build_dataset(settings)) == 2


def test_few_masks_show_no_kind(make):
    context = make('pc60', 'voc21')
    context.names = context.names[:9]
    context.write_list()
    assert context.problems().keys() == {'official list'}
