"""Boundary IoU is the paper's, counted beside the pixels and merged exactly."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny import TinyBench

from naclip_bench.evaluation.boundary import BoundaryMetric
from naclip_bench.evaluation.confusion import from_cells
from naclip_bench.evaluation.metric import ConfusionMetric

IGNORED = 255


def literal_boundary(mask, ratio):
    """What erosion by as many pixels takes off a mask, zeros being around it."""
    distance = max(1, round(ratio * np.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    padded = np.pad(mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return mask & (eroded == 0)


def literal_iou(pairs, classes, ratio):
    shared, either = np.zeros(classes), np.zeros(classes)
    for prediction, truth in pairs:
        prediction = np.where(truth == IGNORED, IGNORED, prediction)
        for of_class in range(classes):
            a, b = (literal_boundary(labels == of_class, ratio) for labels in (prediction, truth))
            shared[of_class] += (a & b).sum()
            either[of_class] += (a | b).sum()
    with np.errstate(invalid='ignore'):
        return shared / either


@st.composite
def labeled_images(draw):
    """Images of few large regions, some pixels of which are not scored."""
    pairs = []
    for _ in range(draw(st.integers(1, 3))):
        height, width, times = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
        both = [draw(hnp.arrays(np.int64, (height, width), elements=st.sampled_from(labels))) for labels in LABELS]
        pairs.append(tuple(labels.repeat(times, 0).repeat(times, 1) for labels in both))
    return pairs


LABELS = ([0, 1, 2], [0, 1, 3, IGNORED])


@given(labeled_images(), st.sampled_from([0.02, 0.1, 0.3, 2.0]))
def test_it_is_the_papers(pairs, ratio):
    metric = BoundaryMetric(ratio)
    tensors = [tuple(map(torch.from_numpy, pair)) for pair in pairs]
    cells = metric.cells(tensors, 4)
    np.testing.assert_allclose(metric.beside(cells, 4)['BIoU'], literal_iou(pairs, 4, ratio), rtol=1e-12)
    # The other metrics are what they are without.
    plain = ConfusionMetric()
    others = plain.cells(tensors, 4)
    assert (from_cells(cells, 4) == from_cells(others, 4)).all()
    assert [of.tolist() for of in metric.counted(cells, 4)] == [of.tolist() for of in others]


def test_a_long_image_has_the_distance_of_its_diagonal():
    """0.02 of 500 pixels is 10, at each edge."""
    truth = torch.zeros(300, 400, dtype=torch.long)
    (cells,) = BoundaryMetric().cells([(truth, truth)], 1)
    assert cells.tolist() == [[0, 0, 120_000], [1, 1, 300 * 400 - 280 * 380], [2, 2, 280 * 380]]


def test_a_run_has_it_beside_the_others(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    plain = bench.run(capfd)
    assert plain.code == 0, plain.stderr
    expected = bench.result()
    options = {'test_evaluator.type': 'BoundaryMetric', 'test_evaluator.ratio': 0.05}
    done = bench.run(capfd, options=options)
    assert done.code == 0, done.stderr
    result = bench.result()
    assert 'mBIoU' in done.stdout
    assert 'mBIoU' not in plain.stdout
    metrics = dict(result['metrics'])
    of_classes = [row['BIoU'] for row in result['per_class'] if row['BIoU'] is not None]
    assert metrics.pop('mBIoU') == pytest.approx(np.mean(of_classes))
    assert metrics == expected['metrics']
    # Another matrix, another key; another distance, too.
    assert result['stands_on']['counting'] == 'pixels, and boundaries of 0.05 of the diagonal'
    assert expected['stands_on']['counting'] == 'pixels'
    # Of the store nothing is computed anew, and the images' order decides nothing.
    again = bench.run(capfd, options=options)
    assert 'nothing computed' in again.stdout
    assert bench.result()['metrics'] == result['metrics']
