"""Colors of classes: measured by a library that knows how people see, also those who see no red or no green."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset

from naclip_bench.datasets.folder import FolderDataset
from naclip_bench.datasets.materials.colors import COLORS
from naclip_bench.datasets.materials.dataset import CLASSES, Materials24Dataset, MaterialsDataset
from naclip_bench.palette import BACKGROUND, DISTINCT, colors_of_names, dataset_palette, distinct_colors

Color = pytest.importorskip('coloraide', reason='coloraide is not installed').Color


def seen(colors, deficiency=None, method=None):
    found = [Color('srgb', [channel / 255 for channel in np.asarray(color).tolist()]) for color in colors]
    # What a screen can show of what the simulation gives.
    return [color.filter(deficiency, method=method).convert('srgb').clip() for color in found] if deficiency else found


def least(colors):
    """The least CIEDE2000 difference of two of them."""
    return min(first.delta_e(second, method='2000') for first, second in combinations(colors, 2))


def test_a_difference_is_measured_as_it_should_be():
    """Red and green are one hue to who sees no red; 20 is no small difference."""
    red, green = (201, 0, 0), (92, 92, 0)
    assert least(seen([red, green])) > 40
    assert least(seen([red, green], 'protan', 'vienot')) < 20


@pytest.mark.parametrize('method', ['machado', 'vienot'])
@pytest.mark.parametrize('deficiency', [None, 'protan', 'deutan'])
def test_twelve_colors_are_told_apart_by_everyone(deficiency, method):
    assert len(DISTINCT) == 12
    assert (distinct_colors(12) == DISTINCT).all()
    assert least(seen(DISTINCT, deficiency, method)) >= 20


@pytest.mark.parametrize('count', [0, 1, 13, 60, 847])
def test_any_number_of_classes_has_colors_of_its_own(count):
    colors = distinct_colors(count)
    assert colors.shape == (count, 3) and len(set(map(tuple, colors.tolist()))) == count
    assert (colors[:12] == np.array(DISTINCT, np.uint8)[:count]).all()


def test_background_is_gray_and_takes_no_color_from_the_others():
    assert colors_of_names(['dog', 'Background', 'boat']).tolist() == [
        list(DISTINCT[0]),
        list(BACKGROUND),
        list(DISTINCT[1]),
    ]


def test_a_dataset_without_a_palette_gets_ours_and_not_mmsegs_random_one():
    folder = FolderDataset('voc20', lazy_init=True)
    assert (dataset_palette(folder.metainfo) == distinct_colors(20)).all()
    names = ('person', 'ship')
    plain = BaseSegDataset(metainfo=dict(classes=names), lazy_init=True)
    assert plain.metainfo['palette'] != [list(color) for color in DISTINCT[:2]]
    assert (dataset_palette(plain.metainfo) == distinct_colors(2)).all()
    own = BaseSegDataset(metainfo=dict(classes=names, palette=[[1, 2, 3], [4, 5, 6]]), lazy_init=True)
    assert dataset_palette(own.metainfo).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_palette_that_tells_not_all_classes_apart_is_not_used():
    colors = dataset_palette({'classes': [str(index) for index in range(60)], 'palette': [[1, 2, 3]] * 60})
    assert len({tuple(color) for color in colors.tolist()}) == 60


def test_materials_have_colors_that_suit_them():
    """Every material has one, in the order of the classes; the named hues are what their words say."""
    assert least(seen(COLORS.values())) >= 14
    with_ground, without = MaterialsDataset(lazy_init=True, count=1), Materials24Dataset(lazy_init=True, count=1)
    assert dataset_palette(without.metainfo).tolist() == [list(COLORS[name]) for name in CLASSES]
    assert dataset_palette(with_ground.metainfo).tolist() == [list(BACKGROUND), *map(list, COLORS.values())]
    hues = {'grass': 140, 'sky': 250, 'water': 260, 'strawberry': 25, 'gold': 95, 'lava': 40, 'tiles': 185, 'brick': 42}
    for name, hue in hues.items():
        (color,) = seen([COLORS[name]])
        assert abs((color.convert('oklch')['hue'] - hue + 180) % 360 - 180) < 20, name
