"""A mask's labels come out of its file as they are stored, in a run and in a check alike, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from pngs import DEPTHS, GRAY, PALETTE, png

from naclip_bench.checks.examine import Pair, examine
from naclip_bench.data.masks import read_labels
from naclip_bench.datasets.loading import LoadMask
from naclip_bench.errors import BenchError
from naclip_bench.files import FileError
from naclip_bench.mask_file import read_mask, reordered

VOC = [tuple(color) for color in PascalVOCDataset.METAINFO['palette']]
OWN = {color: label for label, color in enumerate(VOC)}


@pytest.mark.parametrize(('kind', 'depth'), [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths])
def test_every_kind_of_png_is_read_as_stored_or_refused(tmp_path, kind, depth):
    path = tmp_path / 'mask.png'
    labels = np.arange(7 * 37).reshape(7, 37) * 251 % (1 << depth)
    path.write_bytes(png(labels, kind, depth))
    found = examine(Pair(None, str(path)))
    if kind in (GRAY, PALETTE):
        for read in (LoadMask().read(str(path)).labels, read_labels(path)):
            assert read.shape == labels.shape and (read == labels).all()
        assert found.faults == {} and found.labels.tolist() == np.unique(labels).tolist()
        assert found.pixels.tolist() == np.unique(labels, return_counts=True)[1].tolist()
        assert found.narrow == (depth <= 8)
    else:
        with pytest.raises(BenchError, match=r'mask\.png has \d channels'):
            LoadMask().labels(str(path), False)
        assert list(found.faults) == ['mask of colors'] and found.labels is None


@given(st.sampled_from([(kind, depth) for kind in (GRAY, PALETTE) for depth in DEPTHS[kind]]), st.data())
def test_any_labels_of_any_depth(tmp_path_factory, kind_and_depth, data):
    kind, depth = kind_and_depth
    width = data.draw(st.integers(1, 17))
    values = data.draw(st.lists(st.integers(0, (1 << depth) - 1), min_size=width, max_size=width))
    path = tmp_path_factory.getbasetemp() / 'any.png'
    path.write_bytes(png(np.array([values]), kind, depth))
    assert read_mask(str(path)).labels.tolist() == [values]


def save(path: Path, labels: np.ndarray, **options: object) -> str:
    Image.fromarray(labels).save(path, **options)
    return str(path)


LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 21


@pytest.mark.parametrize(
    ('name', 'labels', 'options'),
    [
        ('mask.tif', LABELS, {}),
        ('mask.tif', LABELS.astype(np.uint16) * 400, {}),
        ('mask.tif', LABELS.astype(np.int32) * 400, {'compression': 'tiff_lzw'}),
        ('mask.bmp', LABELS, {}),
        ('mask.png', LABELS > 9, {}),
        ('mask.png', LABELS.astype(np.uint16) * 400, {}),
    ],
)
def test_other_lossless_files(tmp_path, name, labels, options):
    path = save(tmp_path / name, labels, **options)
    assert (read_mask(path).labels == labels).all() and read_mask(path).labels.dtype.kind in 'ui'


@pytest.mark.parametrize(
    ('name', 'labels', 'options', 'kind', 'fragment'),
    [
        pytest.param('mask.jpg', LABELS, {'quality': 100}, 'lossy', 'JPEG, a lossy format', id='jpeg'),
        # By content, whatever the name says.
        pytest.param('mask.png', LABELS, {'format': 'JPEG'}, 'lossy', 'JPEG, a lossy format', id='jpeg called png'),
        pytest.param('mask.webp', np.stack([LABELS] * 3, 2), {}, 'lossy', 'WEBP, a lossy format', id='webp'),
        pytest.param('mask.tif', LABELS, {'compression': 'jpeg'}, 'lossy', 'lossy format', id='jpeg in a tiff'),
        pytest.param('mask.pgm', LABELS, {}, 'unreadable', 'PPM whose labels', id='pgm'),
        pytest.param('mask.tif', LABELS / 3, {}, 'of colors', 'numbers that are no labels', id='fractions'),
        pytest.param('mask.tif', LABELS.astype(np.int32) - 1, {}, 'of colors', 'no labels', id='negative'),
        pytest.param('mask.png', np.stack([LABELS] * 2, 2), {}, 'of colors', '2 channels', id='alpha'),
    ],
)
def test_files_that_may_have_changed_labels(tmp_path, name, labels, options, kind, fragment):
    labels = labels.astype(np.float32) if labels.dtype == np.float64 else labels
    path = save(tmp_path / name, labels, **options)
    with pytest.raises(FileError, match=fragment) as raised:
        read_mask(path)
    assert name in str(raised.value) and raised.value.kind == kind
    assert list(examine(Pair(None, path)).faults) == [f'mask {kind}']


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(LABELS), Image.fromarray(LABELS + 1)]
    frames[0].save(tmp_path / 'mask.png', save_all=True, append_images=frames[1:])
    with pytest.raises(FileError, match='may change'):
        read_mask(str(tmp_path / 'mask.png'))


# ---- palettes that a program has sorted


def test_sorted_palette_is_told_by_its_colors(tmp_path):
    """Background, person (15) and the border, as a program that shrinks PNGs leaves them."""
    path = tmp_path / 'mask.png'
    path.write_bytes(png(np.array([[0, 1, 2, 2]]), PALETTE, 2, [(224, 224, 192), VOC[15], VOC[0]]))
    mask = read_mask(str(path))
    assert reordered(mask.palette, mask.labels, OWN) == {1: 15, 2: 0}
    loader = LoadMask(21)
    loader.colors = OWN
    with pytest.raises(
        BenchError, match=r'mask\.png has a palette in another order: label 1 has the color of label 15'
    ):
        loader.labels(str(path), False)


@pytest.mark.parametrize(
    'palette',
    [
        pytest.param(VOC + [(224, 224, 192)] * 235, id='its own'),
        pytest.param([(label, label, label) for label in range(256)], id='gray'),
        pytest.param([(7 * label % 256, 0, 0) for label in range(256)], id='of one who knows other colors'),
        # Two of its colors are those of other classes.
        pytest.param([(9, 9, label) for label in range(19)] + [VOC[3], VOC[2]], id='another with like colors'),
    ],
)
def test_other_palettes_say_nothing(palette):
    assert reordered(palette, np.arange(len(palette)), OWN) == {}
