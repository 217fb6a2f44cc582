"""A segmenter as a graph gives the labels that it gives itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.errors import BenchError
from naclip_bench.segment.segmenter import Segmenter

WORDS = ['grass', 'brick, bricks', 'zebra', 'gold', 'wood', 'marble']


def made(method: str = 'naclip', **how: object) -> Segmenter:
    return Segmenter(method, WORDS, weights='materials', device='cpu', short_side='original', **how)


def windows() -> list[np.ndarray]:
    scenes = [drawn(f'{seed:05d}', 2).image for seed in range(4)]
    return [np.ascontiguousarray(scene[top : top + 64, 40:104]) for scene in scenes for top in (0, 64)]


def assert_same(labels: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """But for pixels between two classes, which another order of sums may decide."""
    assert len({int(label) for of in expected for label in np.unique(of)}) > 3
    for one, other in zip(labels, expected, strict=True):
        assert (one == other).mean() > 0.999


@pytest.mark.parametrize('method', ['naclip', 'gem'])
def test_onnxruntime_gives_the_same_labels(tmp_path, capfd, method):
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnxscript', reason='the extra onnx is not installed')
    segmenter = made(method, background=True)
    segmenter.export(tmp_path / 'a.onnx')
    assert capfd.readouterr() == ('', '') and [path.name for path in tmp_path.iterdir()] == ['a.onnx']
    session = runtime.InferenceSession(str(tmp_path / 'a.onnx'), providers=['CPUExecutionProvider'])
    assert tuple(json.loads(session.get_modelmeta().custom_metadata_map['names'])) == segmenter.names
    images = windows()
    assert_same([session.run(None, {'image': image})[0] for image in images], [segmenter(x).labels for x in images])


def test_real_images(tmp_path, real_data):
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnxscript', reason='the extra onnx is not installed')
    segmenter = made()
    segmenter.export(tmp_path / 'a.onnx')
    session = runtime.InferenceSession(str(tmp_path / 'a.onnx'), providers=['CPUExecutionProvider'])
    files = sorted((real_data / 'VOCdevkit' / 'VOC2012' / 'JPEGImages').glob('*.jpg'))[:8]
    images = [np.array(Image.open(file).convert('RGB').resize((64, 64))) for file in files]
    assert_same([session.run(None, {'image': image})[0] for image in images], [segmenter(x).labels for x in images])


def test_torch_export_of_another_size(tmp_path):
    segmenter = Segmenter('naclip', WORDS, weights='materials', device='cpu', settings={'model.window': 96})
    segmenter.export(tmp_path / 'a.pt2', size=(64, 96))
    extra = {'names.json': ''}
    graph = torch.export.load(tmp_path / 'a.pt2', extra_files=extra).module()
    assert tuple(json.loads(extra['names.json'])) == segmenter.names
    image = np.ascontiguousarray(drawn('00000', 2).image[:64, :96])
    whole = Segmenter(
        'naclip', WORDS, weights='materials', device='cpu', short_side='original', settings={'model.window': 96}
    )
    assert_same([graph(torch.from_numpy(image)).numpy()], [whole(image).labels])


@pytest.mark.parametrize(
    ('how', 'path', 'said'),
    [
        ({}, 'a.pb', r'must end in \.onnx or \.pt2'),
        (dict(settings={'model.refine': dict(iterations=1)}), 'a.pt2', 'without refinement'),
        (dict(settings={'model.window': None}), 'a.pt2', r'give the size of the image'),
        (dict(method='cliptrase'), 'a.pt2', 'CLIPtrase cannot be exported: '),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path, how, path, said):
    with pytest.raises(BenchError, match=said):
        made(**how).export(tmp_path / path)
    assert not list(tmp_path.iterdir())
