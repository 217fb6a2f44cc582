"""The benchmarks of 27 classes, and the metric that names clusters."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from labels import load, save, save_images
from test_bootstrap import leaf_of

from naclip_bench.data.cityscapes import classes27, convert_cityscapes27
from naclip_bench.data.coco27 import convert_coco27, is_chosen, merged_labels
from naclip_bench.datasets.cityscapes27 import Cityscapes27Dataset
from naclip_bench.datasets.coco27 import COCO27Dataset
from naclip_bench.evaluation.matched import MatchedMetric, matching
from naclip_bench.evaluation.metric import ConfusionMetric
from naclip_bench.tables.bootstrap import intervals
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.tables import find_table

#: COCO's supercategories of things, by the first and last category id of each, in PiCIE's order of kinds.
THINGS = ((72, 77), (78, 83), (52, 61), (62, 71), (84, 91), (44, 51), (26, 33), (16, 25), (10, 15), (1, 1), (34, 43))
THINGS += ((2, 9),)

#: COCO-Stuff's hierarchy by category id - 1, in the same order, from 12.
STUFF = (
    (101, 102),
    (100, 113, 114, 115, 116, 117),
    (120, 121, 152, 169),
    (97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164),
    (99, 131, 138, 142),
    (91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167),
    (170, 171, 172, 173, 174, 175, 176),
    (179, 180),
    (94, 95, 127, 150, 157, 165),
    (110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158),
    (93, 96, 118, 123, 128, 133, 141, 162, 168),
    (105, 156),
    (126, 134, 149, 159, 161, 181),
    (98, 112, 137, 145, 163),
    (119, 147, 154, 177, 178),
)
#: Categories that label nothing.
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}

# Of things 0 is the tv, of stuff 156 the sky, and 255 unlabeled.
TV, SKY, UNLABELED = 71, 156, 255


def test_coco27_is_cocos_hierarchy(tmp_path):
    kinds = {category - 1: kind for kind, (first, last) in enumerate(THINGS) for category in range(first, last + 1)}
    kinds |= {label: 12 + kind for kind, labels in enumerate(STUFF) for label in labels}
    assert sorted(kinds) == list(range(182))
    used = [label for label in range(182) if label + 1 not in UNUSED]
    archive = save(tmp_path / '000000000001.png', [[*used, 255]])
    converted = save(tmp_path / '000000000001_labelTrainIds.png', [[*range(171), 255]])
    expected = [*(kinds[label] for label in used), 255]
    assert merged_labels(archive)[0].tolist() == merged_labels(converted)[0].tolist() == expected


def mask(height, width, stuff, other):
    """A share of stuff, the rest ``other``."""
    labels = np.full(height * width, other)
    labels[: round(stuff * height * width)] = SKY
    return labels.reshape(height, width)


@pytest.mark.parametrize(
    ('labels', 'chosen'),
    [
        (mask(360, 400, 0.75, TV), True),
        (mask(360, 400, 0.75, UNLABELED), True),
        (mask(400, 360, 0.749, TV), False),
        (mask(400, 360, 0.749, UNLABELED), False),
        (mask(359, 400, 1, TV), False),
        (mask(400, 359, 1, TV), False),
    ],
)
def test_images_are_chosen_by_iics_rule(tmp_path, labels, chosen):
    assert is_chosen(save(tmp_path / '1.png', labels)) is chosen


@pytest.mark.parametrize('suffix', ['.png', '_labelTrainIds.png'])
def test_coco27(tmp_path, suffix):
    folder = tmp_path / 'unpacked' / 'val2017'
    save_images(folder, '000000000001.jpg', '000000000002.jpg')
    tv, sky = (TV, SKY) if suffix == '.png' else (62, 145)
    chosen, left = np.full((360, 360), sky), np.full((360, 360), tv)
    chosen[0, :2] = tv, 255
    for name, labels in (('000000000001', chosen), ('000000000002', left)):
        save(folder / f'{name}{suffix}', labels)
    convert_coco27(tmp_path / 'unpacked', tmp_path / 'data')
    files = sorted(path.relative_to(tmp_path / 'data').as_posix() for path in (tmp_path / 'data').rglob('*.*'))
    assert files == ['coco27/annotations/val2017/000000000001.png', 'coco27/images/val2017/000000000001.jpg']
    assert load(tmp_path / 'data' / files[0])[0][:3] == [0, 255, 23]
    classes = COCO27Dataset.METAINFO['classes']
    assert (len(classes), classes[0], classes[23]) == (27, 'electronic-things', 'sky-stuff')


def test_cityscapes27(tmp_path):
    save_images(tmp_path / 'leftImg8bit' / 'val' / 'ulm', 'ulm_0_leftImg8bit.png')
    save(tmp_path / 'gtFine' / 'val' / 'ulm' / 'ulm_0_gtFine_labelIds.png', [[*range(34)]])
    convert_cityscapes27(tmp_path, tmp_path / 'data')
    found = load(tmp_path / 'data/cityscapes/gtFine/val/ulm/ulm_0_gtFine_classes27.png')
    assert found == [[255] * 7 + [*range(27)]]
    classes = Cityscapes27Dataset.METAINFO['classes']
    assert (classes[0], classes[9], classes[23], classes[26]) == ('road', 'tunnel', 'trailer', 'bicycle')


def test_cityscapes27_of_polygons(tmp_path):
    pytest.importorskip('cityscapesscripts')
    from test_convert import DRAWN, POLYGONS

    path = tmp_path / 'aachen_0_gtFine_polygons.json'
    path.write_text(POLYGONS)
    assert classes27(path).tolist() == [[label - 7 if label >= 7 else 255 for label in row] for row in DRAWN]


# ---- clusters with classes


@pytest.fixture
def matrices():
    return np.random.default_rng(3).integers(0, 90, (8, 5, 5))[:, :, [2, 0, 1, 4, 3]] ** 2


def test_matching_finds_the_most_pixels(matrices):
    confusion = matrices.sum(0)
    best = max(permutations(range(5)), key=lambda of: sum(confusion[true, label] for label, true in enumerate(of)))
    assert matching(confusion).tolist() == list(best) != list(range(5))
    renamed = np.zeros_like(confusion)
    for label, true in enumerate(best):
        renamed[:, true] = confusion[:, label]
    assert MatchedMetric().scores(confusion).percent() == ConfusionMetric().scores(renamed).percent()
    assert MatchedMetric().scores(confusion).aAcc > ConfusionMetric().scores(confusion).aAcc


def test_intervals_keep_the_matching_of_all_images(matrices):
    renamed = matrices[:, :, np.argsort(matching(matrices.sum(0)))]
    assert intervals(*leaf_of(matrices, 'MatchedMetric')) == intervals(*leaf_of(renamed, 'ConfusionMetric'))


def test_table_8_scores_the_same_labels_twice():
    plan = make_plan([find_table('cliptrase/table8')], Options())
    assert [sorted(leaf.config.dataset for leaf in of.leaves) for of in plan.passes] == [
        ['coco27'] * 2,
        ['cityscapes27'] * 2,
    ]
    for leaf in plan.leaves:
        steps = [step['type'] for step in leaf.config.test_dataloader.dataset.pipeline]
        assert steps == ['LoadImage', 'LoadMask', 'CentralSquare', 'PackSegInputs']
        assert (leaf.config.model.window, leaf.config.model.vote, leaf.config.model.class_names) == (
            None,
            'labels',
            leaf.config.dataset,
        )
    assert {leaf.config.test_evaluator.type for leaf in plan.leaves} == {'ConfusionMetric', 'MatchedMetric'}
