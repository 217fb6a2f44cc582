"""Conversion of ADE20K's full release, every pixel against what was worked out by hand."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from labels import load, save, save_images, state
from PIL import Image
from scipy.io import savemat

from naclip_bench.data.ade847 import class_names, convert_ade847, object_table
from naclip_bench.errors import BenchError

#: The release's objects, numbered from 1: object 300 is the wall.
OBJECTS = ['-', "altar, Lord's table", 'screen, CRT screen', *(f'thing {number}' for number in range(4, 300)), 'wall']
#: The classes, as lists of the 847 write them.
NAMES = ['wall', 'screen, crt screen', 'altar, lords table']


def save_objects(path: Path, objects: object) -> Path:
    """A ``_seg.png``: the object in red and green, in blue an instance's number."""
    objects = np.array(objects)
    red, green = objects // 256 * 10, objects % 256
    return save(path, np.stack([red, green, np.full_like(red, 77)], -1))


def save_pickle(release: Path) -> None:
    index = {
        'objectnames': OBJECTS,
        'filename': ['ADE_val_00000001.jpg'],
        'objectIsPart': np.zeros((len(OBJECTS), 1)),
        'proportionClassIsPart': np.float64(0.5),
    }
    (release / 'index_ade20k.pkl').write_bytes(pickle.dumps(index))


def save_matlab(release: Path) -> None:
    """The index of 2016."""
    names = np.array([OBJECTS], object)
    savemat(release / 'index_ade20k.mat', {'index': {'objectnames': names, 'filename': np.array([['x']], object)}})


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / 'unpacked' / 'ADE20K_2021_17_01'
    scenes = folder / 'images' / 'ADE'
    save_images(scenes / 'validation' / 'urban' / 'street', 'ADE_val_00000001.jpg')
    save_images(scenes / 'validation' / 'cultural' / 'church', 'ADE_val_00000002.jpg')
    save_images(scenes / 'training' / 'urban' / 'street', 'ADE_train_00000001.jpg')
    # None, wall, screen; altar, a thing that is no class, wall.
    save_objects(scenes / 'validation/urban/street/ADE_val_00000001_seg.png', [[0, 300, 3], [2, 299, 300]])
    save_objects(scenes / 'validation/cultural/church/ADE_val_00000002_seg.png', [[2, 1]])
    # Parts of objects, which are no labels.
    save_objects(scenes / 'validation/cultural/church/ADE_val_00000002_parts_1.png', [[300, 300]])
    save_pickle(folder)
    return folder


@pytest.mark.parametrize('save_index', [save_pickle, save_matlab])
def test_ade847(release, tmp_path, save_index):
    (release / 'index_ade20k.pkl').unlink()
    save_index(release)
    convert_ade847(tmp_path / 'unpacked', tmp_path / 'data', NAMES)
    root = tmp_path / 'data' / 'ade' / 'ADE20K_847'
    masks = root / 'annotations' / 'validation'
    assert load(masks / 'ADE_val_00000001.png') == [[65535, 0, 1], [2, 65535, 0]]
    assert load(masks / 'ADE_val_00000002.png') == [[2, 65535]]
    assert len(list(masks.iterdir())) == 2
    assert sorted(path.name for path in (root / 'images' / 'validation').iterdir()) == [
        'ADE_val_00000001.jpg',
        'ADE_val_00000002.jpg',
    ]
    before = state(tmp_path)
    convert_ade847(tmp_path / 'unpacked', tmp_path / 'data', NAMES)
    assert state(tmp_path) == before


def test_the_847_names_tell_847_objects_apart():
    names = class_names()
    assert (len(names), names[0], names[846]) == (847, 'wall', 'adding machine, totalizer, totaliser')
    objects = ['-', *reversed(names)]
    assert object_table(objects, names, Path('index'))[2:].tolist() == list(range(846, -1, -1))


def test_the_847_names_are_the_benchmarks_classes(real_data):
    """The list in use by others, in its order."""
    others = (real_data.parent / 'classnames' / 'ProxyCLIP' / 'cls_ade20k847.txt').read_text().splitlines()
    assert class_names() == [name.strip() for name in others]


@pytest.mark.parametrize(
    ('objects', 'message'),
    [
        pytest.param([*OBJECTS, 'Wall'], '"wall" is there 2 times', id='twice'),
        pytest.param([name for name in OBJECTS if name != 'wall'], '"wall" is not there', id='lost'),
        pytest.param(['-', 'walls', *NAMES[1:]], 'did you mean "walls"', id='another spelling'),
    ],
)
def test_name_that_does_not_tell_an_object(release, tmp_path, objects, message):
    (release / 'index_ade20k.pkl').write_bytes(pickle.dumps({'objectnames': objects}))
    with pytest.raises(BenchError, match=rf'index_ade20k\.pkl has {len(objects)} objects, but .*{message}'):
        convert_ade847(release, tmp_path / 'data', NAMES)


class Harmful:
    def __reduce__(self) -> tuple:
        return os.mkdir, ('harm',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        pytest.param(pickle.dumps({'objectnames': Harmful()}), r'it wants .*\.mkdir', id='harmful'),
        pytest.param(pickle.dumps({'filename': []}), "'objectnames'", id='no names'),
        pytest.param(b'a page', 'unpack it again', id='no pickle'),
    ],
)
def test_index_that_is_none(release, tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (release / 'index_ade20k.pkl').write_bytes(content)
    with pytest.raises(BenchError, match=rf'index_ade20k\.pkl holds no objectnames \(.*{message}'):
        convert_ade847(release, tmp_path / 'data', NAMES)
    assert not (tmp_path / 'harm').exists()


def lose_index(release: Path, mask: Path) -> None:
    (release / 'index_ade20k.pkl').unlink()


def lose_images(release: Path, mask: Path) -> None:
    for path in release.rglob('*.jpg'):
        path.unlink()


def lose_mask(release: Path, mask: Path) -> None:
    mask.unlink()


def save_object_301(release: Path, mask: Path) -> None:
    save_objects(mask, [[301]])


def save_reduced(release: Path, mask: Path) -> None:
    """As the release of 150 classes has its masks."""
    Image.fromarray(np.array([[1]], np.uint8)).save(mask)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lose_index, r'found no index_ade20k\.pkl in .*; unpack the full release, ADE20K_2021_17_01, there'),
        (lose_images, r'found no ADE_val_\*\.jpg beside'),
        (lose_mask, '1 of 2 files are missing, the first .*ADE_val_00000002_seg.png'),
        (save_object_301, r'ADE_val_00000002_seg\.png holds label 301; expected: objects 0\.\.300'),
        (save_reduced, r'ADE_val_00000002_seg\.png is an image of mode L'),
    ],
)
def test_release_with_something_wrong(release, tmp_path, damage, message):
    damage(release, release / 'images/ADE/validation/cultural/church/ADE_val_00000002_seg.png')
    with pytest.raises(BenchError, match=message):
        convert_ade847(release, tmp_path / 'data', NAMES)
