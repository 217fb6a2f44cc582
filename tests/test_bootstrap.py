"""Intervals and the paired test: against scipy, and against closed forms where there are some."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import METRICS
from scipy import stats

from naclip_bench.evaluation.confusion import from_cells, to_cells
from naclip_bench.evaluation.run import Result
from naclip_bench.tables.bootstrap import RESAMPLES, SEED, SUMMARY, Images, draws, image_areas, intervals, paired


def leaf_of(matrices, metric='ConfusionMetric'):
    """A leaf and its result, one image a matrix."""
    cells = {f'p{index:03}': to_cells(np.asarray(matrix)) for index, matrix in enumerate(matrices)}
    leaf = SimpleNamespace(config=Config(dict(test_evaluator=dict(type=metric))))
    return leaf, Result({'per_class': [{}] * len(matrices[0])}, cells)


def right_or_wrong(rights):
    """Images of ten pixels of class 0, all found or all taken for class 1."""
    return leaf_of([[[10, 0], [0, 0]] if right else [[0, 10], [0, 0]] for right in rights])


@pytest.fixture
def matrices():
    """Images of which each lacks some classes; nothing has class 5, and one image has no scored pixel."""
    random = np.random.default_rng(7)
    made = random.integers(0, 500, (12, 6, 6)) * (random.random((12, 6, 6)) < 0.3)
    made[:, 5], made[:, :, 5], made[3] = 0, 0, 0
    return made


def test_areas_of_images(matrices):
    areas = image_areas([to_cells(matrix) for matrix in matrices], 6)
    assert areas.shape == (12, 6, 3)
    assert np.array_equal(areas[..., 0], matrices.diagonal(axis1=1, axis2=2))
    assert np.array_equal(areas[..., 1], matrices.sum(2))
    assert np.array_equal(areas[..., 2], matrices.sum(1))


@pytest.mark.parametrize('kind', ['ConfusionMetric', 'SmoothedMetric'])
def test_intervals_equal_scipys(matrices, kind):
    """scipy draws the same images from the same seed; each draw is scored by the metric from its whole matrix."""
    metric = METRICS.get(kind)()
    cells = [to_cells(matrix) for matrix in matrices]

    def statistic(drawn):
        percent = metric.scores(from_cells([cells[int(index)] for index in drawn], 6)).percent()
        return np.array([percent[name] for name in SUMMARY])

    expected = stats.bootstrap(
        (np.arange(12),),
        lambda drawn, axis: np.apply_along_axis(statistic, axis, drawn).T,
        n_resamples=RESAMPLES,
        vectorized=True,
        method='percentile',
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    found = intervals(*leaf_of(matrices, kind))
    assert list(found) == list(SUMMARY)
    assert np.allclose([found[name] for name in SUMMARY], np.stack(expected, axis=1), rtol=0, atol=1e-9)
    whole = metric.scores(matrices.sum(0)).percent()
    assert all(low < whole[name] < high for name, (low, high) in found.items())


def test_interval_of_a_share_is_the_binomials():
    """Of 200 images a quarter is all right: the draws' accuracy is a binomial's share."""
    low, high = intervals(*right_or_wrong([True] * 50 + [False] * 150))['aAcc']
    expected = 100 * stats.binom.ppf([0.025, 0.975], 200, 0.25) / 200
    assert np.allclose([low, high], expected, atol=0.51)


def test_draws_in_which_a_metric_does_not_exist_are_left_out():
    scored, empty = [[8, 2], [0, 0]], [[0, 0], [0, 0]]
    found = intervals(*leaf_of([scored, empty]))
    assert found['aAcc'] == pytest.approx((80, 80))
    assert intervals(*leaf_of([empty, empty]))['mIoU'] is None
    assert intervals(*leaf_of([scored])) == {}


def test_draws_are_of_as_many_images_and_the_same_again():
    first, second = (np.concatenate(list(draws(7, 250))) for _ in range(2))
    assert first.shape == (250, 7) and np.array_equal(first, second)
    assert (first.sum(1) == 7).all() and len(np.unique(first, axis=0)) > 200


@pytest.mark.parametrize(('better', 'worse'), [(6, 2), (3, 3), (1, 6), (9, 0)])
def test_paired_p_is_the_multinomials(better, worse):
    """Images on which one row alone is right: how many of either a draw has follows a multinomial."""
    count = 20
    first = [True] * better + [False] * worse + [index % 2 == 0 for index in range(count - better - worse)]
    second = [False] * better + [True] * worse + first[better + worse :]
    test = paired(*(Images(*right_or_wrong(rights)) for rights in (first, second)))
    drawn = stats.multinomial(count, [better / count, worse / count, 1 - (better + worse) / count])
    at_most = at_least = 0.0
    for a in range(count + 1):
        for b in range(count + 1 - a):
            share = drawn.pmf([a, b, count - a - b])
            at_most, at_least = at_most + share * (a <= b), at_least + share * (a >= b)
    expected = min(1, 2 * min(at_most, at_least))
    error = 4 * 2 * np.sqrt(expected / 2 * (1 - expected / 2) / RESAMPLES) + 2 / RESAMPLES
    assert test.p == pytest.approx(expected, abs=error)
    # Class 1 is never right, and predicted by both: mIoU is half of class 0's share.
    assert test.difference == pytest.approx(100 * (better - worse) / count / 2)
    low, high = test.interval
    assert low <= test.difference <= high


def test_a_row_does_not_differ_from_itself(matrices):
    images = Images(*leaf_of(matrices))
    test = paired(images, images)
    assert (test.difference, test.interval, test.p) == (0, (0, 0), 1)
