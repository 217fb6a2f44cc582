"""Every format is read back, by another library than the one that wrote it wherever there is one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from naclip_bench.errors import BenchError
from naclip_bench.segment.outputs.coco import opened
from naclip_bench.segment.result import OVERLAY, Segmentation

NAMES = ('background', 'dog, "the" best', 'boat', 'absent')


def made(labels: np.ndarray, names: tuple[str, ...] = NAMES, **how: object) -> Segmentation:
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    return Segmentation(labels, names, image, method='naclip', name='a.jpg', **how)


@pytest.fixture
def result() -> Segmentation:
    """A ring with an island in its hole, and a region with two holes that touch at a corner."""
    labels = np.zeros((40, 60), np.uint8)
    labels[5:25, 5:30] = 1
    labels[10:20, 10:25] = 0
    labels[13:16, 14:18] = 1
    labels[28:38, 35:55] = 2
    labels[30:33, 38:41] = 0
    labels[33:35, 41:44] = 1
    return made(labels, probabilities=np.random.default_rng(1).random((4, 40, 60), np.float32))


def test_png_has_labels_and_palette(result, tmp_path):
    result.save(tmp_path / 'a.png')
    with Image.open(tmp_path / 'a.png') as image:
        assert image.mode == 'P' and (np.asarray(image) == result.labels).all()
        assert (np.asarray(image.convert('RGB')) == result.colors[result.labels]).all()
        assert image.text['classes'].split('\n')[1] == '1 dog, "the" best'


def test_png_of_many_classes_has_16_bits(tmp_path):
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    made(labels, tuple(map(str, range(300)))).save(tmp_path / 'a.png')
    cv2 = pytest.importorskip('cv2')
    stored = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16 and (stored == labels).all()


def test_overlay_is_an_image_with_a_legend(result, tmp_path):
    result.save(tmp_path / 'a.jpg')
    with Image.open(tmp_path / 'a.jpg') as image:
        assert image.format == 'JPEG' and image.width >= 2 * 60 and image.height > 40


def test_overlay_of_a_large_image_is_reduced():
    labels = np.zeros((30, 3 * OVERLAY), np.uint8)
    labels[:, OVERLAY:] = 2
    image, reduced = made(labels).reduced(OVERLAY)
    assert image.shape == (10, OVERLAY, 3) and reduced.shape == (10, OVERLAY)
    assert (reduced == 2).mean() == pytest.approx(2 / 3, abs=0.01)


def test_coco_is_read_by_pycocotools(result, tmp_path):
    coco = pytest.importorskip('pycocotools.coco', reason='the extra segment is not installed')
    result.save(tmp_path / 'a.json')
    read = coco.COCO(str(tmp_path / 'a.json'))
    assert [category['name'] for category in read.loadCats(read.getCatIds())] == list(NAMES)
    annotations = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert len(annotations) == 3
    for annotation in annotations:
        mask = result.labels == annotation['category_id'] - 1
        assert (read.annToMask(annotation) == mask).all()
        rows, columns = mask.nonzero()
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert annotation['bbox'] == [columns.min(), rows.min(), width, height]
        assert annotation['area'] == mask.sum()


def random_labels(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 3, (9, 12), np.uint8).repeat(5, 0).repeat(5, 1)


@pytest.mark.parametrize('seed', range(4))
def test_outlines_of_coco_are_the_regions(result, tmp_path, seed):
    """pycocotools fills them anew; it rounds edges to fifths of a pixel."""
    pytest.importorskip('rasterio', reason='the extra geo is not installed')
    coco = pytest.importorskip('pycocotools.coco', reason='the extra segment is not installed')
    from naclip_bench.json_files import write_json
    from naclip_bench.segment.outputs.coco import annotated, merged

    result = made(random_labels(seed)) if seed else result
    write_json(tmp_path / 'a.json', merged([annotated(result, with_polygons=True)], NAMES))
    read = coco.COCO(str(tmp_path / 'a.json'))
    for annotation in read.loadAnns(read.getAnnIds()):
        mask = result.labels == annotation['category_id'] - 1
        filled = read.annToMask(annotation) > 0
        assert (filled & mask).sum() / (filled | mask).sum() > 0.97


def test_a_hole_is_joined_to_its_outline():
    square, hole = [(0, 0), (0, 9), (9, 9), (9, 0), (0, 0)], [(3, 3), (6, 3), (6, 6), (3, 6), (3, 3)]
    ring = opened([square, hole])
    assert ring[:2] == [(0, 0), (0, 3)] and ring.count((0, 3)) == 2 and ring.count((3, 3)) == 2
    area = sum(x * later[1] - later[0] * y for (x, y), later in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2
    assert abs(area) == 81 - 9


def test_geojson_is_read_by_shapely(result, tmp_path):
    pytest.importorskip('rasterio', reason='the extra geo is not installed')
    shapely = pytest.importorskip('shapely', reason='shapely is not installed')
    result.save(tmp_path / 'a.geojson')
    features = json.loads((tmp_path / 'a.geojson').read_text())['features']
    read = shapely.from_geojson((tmp_path / 'a.geojson').read_text())
    assert len(read.geoms) == len(features) and shapely.is_valid(read).all()
    areas = dict.fromkeys(NAMES, 0)
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(60), np.arange(40)))
    inside = np.full(result.labels.size, -1)
    for feature, shape in zip(features, read.geoms, strict=True):
        about = feature['properties']
        assert about['pixels'] == shape.area and about['class'] == NAMES[about['label']]
        areas[about['class']] += about['pixels']
        inside[shapely.contains_xy(shape, x, y)] = about['label']
    assert areas == result.areas
    assert (inside.reshape(40, 60) == result.labels).all()


def test_geojson_lies_on_earth(result, tmp_path):
    rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')
    from naclip_bench.segment.geo import Georeference

    # 60 x 40 m in UTM zone 32, whose middle meridian is 9 degrees east.
    where = Georeference(rasterio.crs.CRS.from_epsg(32632), rasterio.Affine(1, 0, 500000, 0, -1, 5000000))
    result.georeference = where
    result.save(tmp_path / 'a.geojson')
    features = json.loads((tmp_path / 'a.geojson').read_text())['features']
    points = np.array([point for feature in features for point in feature['geometry']['coordinates'][0]])
    assert points[:, 0].min() == pytest.approx(9, abs=1e-6) and points[:, 0].max() == pytest.approx(9.00076, abs=1e-5)
    assert (np.abs(points[:, 1] - 45.1533) < 1e-3).all()


def test_npz_has_labels_names_and_probabilities(result, tmp_path):
    result.save(tmp_path / 'a.npz')
    with np.load(tmp_path / 'a.npz') as stored:
        assert (stored['labels'] == result.labels).all() and tuple(stored['names']) == NAMES
        assert np.abs(stored['probabilities'] - result.probabilities).max() < 1e-3


def test_csv_has_pixels_and_shares(result, tmp_path):
    result.save(tmp_path / 'a.csv')
    with (tmp_path / 'a.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['class']: int(row['pixels']) for row in rows} == result.areas
    assert sum(float(row['share']) for row in rows) == pytest.approx(1, abs=1e-5)


def test_supervision_draws_it(result):
    supervision = pytest.importorskip('supervision', reason='supervision is not installed')
    detections = result.to_supervision()
    assert list(detections.class_id) == [0, 1, 2] and list(detections['class_name']) == list(NAMES[:3])
    assert (detections.area == list(result.areas.values())[:3]).all()
    assert list(detections.xyxy[2]) == [35, 28, 54, 37]
    drawn = supervision.MaskAnnotator().annotate(result.image.copy(), detections)
    assert drawn.shape == result.image.shape and (drawn != result.image).any()


def test_fiftyone_has_its_labels_from_one(result, monkeypatch):
    import sys
    from types import ModuleType, SimpleNamespace

    stand_in = ModuleType('fiftyone')
    stand_in.Segmentation = SimpleNamespace
    monkeypatch.setitem(sys.modules, 'fiftyone', stand_in)
    assert (result.to_fiftyone().mask == result.labels + 1).all()
    monkeypatch.setitem(sys.modules, 'fiftyone', None)
    with pytest.raises(BenchError, match=r"needs fiftyone: pip install 'naclip_bench\[adapters\]'"):
        result.to_fiftyone()


def test_an_unknown_suffix_names_those_that_are_known(result, tmp_path):
    with pytest.raises(BenchError, match=r'must end in \.png, \.jpg, \.tif'):
        result.save(tmp_path / 'a.gif')
    (tmp_path / 'file').write_text('')
    with pytest.raises(BenchError, match='cannot write'):
        result.save(tmp_path / 'file' / 'a.png')
    assert not list(tmp_path.rglob('*.tmp'))
