"""Large images in tiles: the same labels, in memory that does not grow with the height."""

from __future__ import annotations

import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.errors import BenchError
from naclip_bench.inference import tiles as tiling
from naclip_bench.inference.stitch import Side, patch_order, side_matrix
from naclip_bench.inference.windows import starts
from naclip_bench.segment import running
from naclip_bench.segment.segmenter import Segmenter

WORDS = ['grass', 'brick', 'water, sea', 'gold', 'wood', 'sand', 'snow', 'lava', 'zebra', 'marble']


def scene(seed: int, scale: int = 3) -> np.ndarray:
    return drawn(f'{seed:05d}', scale).image


@pytest.fixture
def tiled(monkeypatch):
    """Every image is large, and tiles are small."""
    monkeypatch.setattr(running, 'LARGE', 0)
    monkeypatch.setattr(tiling, 'LONGEST', 50)


@pytest.mark.parametrize(
    ('size', 'window', 'stride', 'patches', 'to'),
    [(100, 64, 32, 8, 100), (96, 64, 32, 8, 331), (336, 224, 112, 14, 97), (50, 50, 32, 6, 200), (64, 64, 32, 8, 7)],
)
def test_parts_are_those_of_the_whole_matrix(size, window, stride, patches, to):
    begins = tuple(starts(size, window, stride))
    side = Side(size, window, begins, patches, to)
    whole = torch.empty(to, len(begins) * patches)
    whole[:, patch_order(side, torch.device('cpu'))] = side_matrix(side, torch.device('cpu'))
    for begin in range(0, to, 13):
        pixels = slice(begin, min(begin + 13, to))
        seen, part = tiling.part_of_side(size, window, begins, patches, to, pixels)
        own = whole[pixels].unflatten(1, (len(begins), patches))
        assert (own[:, seen].flatten(1) - part).abs().max() < 1e-5
        own[:, seen] = 0
        assert own.abs().max() == 0


@pytest.mark.parametrize(
    ('method', 'how'),
    [
        ('naclip', dict(short_side='original')),
        ('naclip', {}),
        ('sclip', dict(short_side='original', background=True)),
        ('clip', dict(short_side=200, settings={'model.stride': 24})),
    ],
)
def test_labels_in_tiles_are_those_of_the_whole(method, how, tiled, monkeypatch):
    segmenter = Segmenter(method, WORDS, weights='materials', device='cpu', **how)
    images = [scene(0), scene(1, 2)]
    parts = segmenter(images, probabilities=True)
    monkeypatch.undo()
    for part, whole in zip(parts, segmenter(images, probabilities=True), strict=True):
        assert np.abs(part.probabilities - whole.probabilities).max() < 1e-5
        two = np.sort(whole.probabilities, 0)[-2:]
        clear = two[1] - two[0] > 1e-5
        assert clear.mean() > 0.99 and (part.labels == whole.labels)[clear].all()
        assert len(np.unique(whole.labels)) > 2


def test_real_images_in_tiles(real_data, tiled, monkeypatch):
    segmenter = Segmenter('naclip', WORDS, weights='materials', device='cpu')
    images = sorted((real_data / 'VOCdevkit' / 'VOC2012' / 'JPEGImages').glob('*.jpg'))[:3]
    parts = segmenter(images)
    monkeypatch.undo()
    for part, whole in zip(parts, segmenter(images), strict=True):
        assert (part.labels == whole.labels).mean() > 0.9999


def test_memory_does_not_grow_with_the_height(tiled, monkeypatch):
    """What is alive at once, beyond the image and its labels; tracemalloc sees numpy, the tensors are counted."""
    monkeypatch.setattr(tiling, 'LONGEST', 128)
    segmenter = Segmenter('naclip', WORDS, weights='materials', device='cpu', short_side='original')
    tile = np.ascontiguousarray(np.tile(scene(0), (1, 2, 1))[:256, :256])
    kept, alive = [], []
    real = tiling._window_row

    def watched(*args):
        row = real(*args)
        kept.append([weakref.ref(part) for part in row.values()])
        alive.append(sum(any(ref() is not None for ref in refs) for refs in kept))
        return row

    monkeypatch.setattr(tiling, '_window_row', watched)
    peaks = {}
    for height in (512, 2048):
        image = np.tile(tile, (height // 256, 1, 1))
        kept.clear(), alive.clear()
        tracemalloc.start()
        result = segmenter(image)
        peaks[height] = tracemalloc.get_traced_memory()[1] - result.labels.nbytes
        tracemalloc.stop()
        rows = len(starts(height, 64, 32))
        assert len(kept) == rows, 'each row of windows is run once'
        # Those over a row of tiles.
        assert max(alive) <= 128 // 32 + 3
    assert peaks[2048] < peaks[512] + 2e6


def test_what_needs_the_whole_image_says_so(tiled):
    refined = {'model.refine': dict(iterations=1)}
    segmenter = Segmenter('naclip', WORDS, weights='materials', device='cpu', settings=refined)
    with pytest.raises(BenchError, match='its refinement needs the whole image; cut it into smaller'):
        segmenter(scene(0))


def test_geotiff_keeps_its_georeference_and_its_gaps(tmp_path, monkeypatch):
    rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')
    from rasterio.transform import from_origin

    from naclip_bench.segment import inputs

    image, path = scene(0), tmp_path / 'a.tif'
    height, width = image.shape[:2]
    gap = np.zeros((height, width), bool)
    gap[:40, :60] = True
    where = dict(crs='EPSG:32632', transform=from_origin(500000, 5000000, 0.5, 0.5))
    with rasterio.open(path, 'w', driver='GTiff', height=height, width=width, count=3, dtype='uint8', **where) as file:
        file.write(np.moveaxis(image, 2, 0))
        file.write_mask(~gap)
    segmenter = Segmenter('naclip', WORDS, weights='materials', device='cpu', short_side='original')
    result = segmenter(path)
    plain = tmp_path / 'plain.png'
    Image.fromarray(image).save(plain)
    expected = segmenter(plain).labels
    assert (result.labels == np.where(gap, 255, expected)).all()
    assert sum(result.areas.values()) == (~gap).sum()

    result.save(tmp_path / 'labels.tif')
    with rasterio.open(tmp_path / 'labels.tif') as file:
        assert (file.crs, file.transform, file.nodata) == (where['crs'], where['transform'], 255)
        assert (file.read(1) == result.labels).all()
        assert file.colormap(1)[1][:3] == tuple(result.colors[1])

    # Read row by row, in tiles.
    monkeypatch.setattr(inputs, 'STREAMED', 0)
    monkeypatch.setattr(running, 'LARGE', 0)
    monkeypatch.setattr(tiling, 'LONGEST', 50)
    streamed = segmenter(path)
    assert not isinstance(streamed.image, np.ndarray)
    assert (streamed.labels == result.labels).mean() > 0.9999
    assert streamed.overlay().width > width


def test_geotiff_of_16_bits_says_how_to_scale_it(tmp_path):
    rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')
    path = tmp_path / 'a.tif'
    with rasterio.open(
        path, 'w', driver='GTiff', height=30, width=30, count=3, dtype='uint16', crs='EPSG:4326',
        transform=rasterio.Affine(1, 0, 5, 0, -1, 50),
    ) as file:  # fmt: skip
        file.write(np.ones((3, 30, 30), np.uint16))
    with pytest.raises(BenchError, match='holds uint16 numbers; scale it to 8 bits, as "gdal_translate'):
        Segmenter('naclip', WORDS, weights='materials', device='cpu')(path)
