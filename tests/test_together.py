"""Images of one size are decided and counted at once where a step costs more than its numbers, as on a GPU."""

import pytest
import torch
from golden import TINY, random_image
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from test_methods import VARIANTS

from naclip_bench.datasets.preprocessor import ImagePreprocessor
from naclip_bench.errors import BenchError
from naclip_bench.evaluation import confusion
from naclip_bench.inference import pipeline, stitch
from naclip_bench.inference.decide import decide
from naclip_bench.inference.stitch import PixelLogits
from naclip_bench.inference.windows import Windows
from naclip_bench.speed.launches import Launches

#: Two pairs of one original size; of the second, the images themselves differ in size.
SHAPES = [(100, 75), (64, 120), (100, 75), (75, 100), (100, 75)]
SIZES = [(50, 70), (90, 64), (50, 70), (90, 64), (64, 90)]


@pytest.fixture
def at_once(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(pipeline, 'ONE_BY_ONE', set())
    monkeypatch.setitem(stitch.BLOCK_ELEMENTS, 'cpu', 2**24)


@pytest.fixture
def taken(monkeypatch):
    """How many images each decision was of."""
    seen, of = [], PixelLogits.together.__func__

    def together(cls, images):
        seen.append(len(images))
        return of(cls, images)

    monkeypatch.setattr(PixelLogits, 'together', classmethod(together))
    return seen


def model(kind='NACLIP', **settings):
    usual = dict(class_names='voc21', backbone=dict(arch=TINY, pretrained=None), window=64, stride=32)
    return MODELS.build(usual | dict(settings, type=kind))


def labels_of(*members, shapes=SHAPES, sizes=SIZES):
    images = [random_image(*shape, seed)[0] for seed, shape in enumerate(shapes)]
    samples = [
        SegDataSample(metainfo=dict(ori_shape=size, img_path=f'{index}.jpg')) for index, size in enumerate(sizes)
    ]
    return pipeline.segment(members, images, samples)


@pytest.mark.numeric
@pytest.mark.parametrize(('kind', 'settings'), dict(reversed(VARIANTS)).items())
def test_labels_are_those_of_each_image_alone(kind, settings, taken, monkeypatch):
    method = model(kind, **settings)
    (alone,) = labels_of(method)
    monkeypatch.setattr(pipeline, 'ONE_BY_ONE', set())
    assert not taken
    (together,) = labels_of(method)
    assert taken == [2] * method.decides_together
    for ours, expected, size in zip(together, alone, SIZES, strict=True):
        assert ours.shape == size
        assert ours.dtype == expected.dtype
        assert (ours == expected).float().mean() > 0.999


@pytest.mark.usefixtures('at_once')
@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(), [2]),
        (dict(prob_thd=0.3), [2]),
        # Refinements and areas are of one image.
        (dict(area_thd=0.1), []),
        (dict(refine=dict(iterations=1)), []),
        (dict(refine=dict(type='DenseCRF', iterations=1)), []),
        (dict(kind='CLIPtrase'), []),
    ],
)
def test_only_images_alike_go_together(settings, expected, taken):
    labels_of(model(**settings))
    assert taken == expected


@pytest.mark.usefixtures('at_once')
def test_no_more_images_than_one_block_holds(taken, monkeypatch):
    method = model()
    monkeypatch.setitem(stitch.BLOCK_ELEMENTS, 'cpu', 2 * len(method.text.vectors) * 50 * 70)
    labels_of(method, shapes=[(100, 75)] * 5, sizes=[(50, 70)] * 5)
    assert taken == [2, 2]


@pytest.mark.usefixtures('at_once')
def test_methods_that_share_logits_share_those_of_several_images(taken):
    first = model()
    second = model(backbone=first.backbone, prob_thd=0.3)
    shared = labels_of(first, second)
    assert taken == [2]
    for method, labels in zip((first, second), shared, strict=True):
        assert all(map(torch.equal, labels, labels_of(method)[0]))


@pytest.mark.usefixtures('at_once')
def test_the_image_whose_logits_are_not_finite_is_named(monkeypatch):
    method = model(window_batch=64)
    match = method.match

    def broken(tokens, text, trunk):
        matched = match(tokens, text, trunk)
        matched[-1] = torch.nan  # the last window, of the last image
        return matched

    monkeypatch.setattr(method, 'match', broken)
    with pytest.raises(BenchError, match=r'the logits of 2\.jpg are not finite'):
        labels_of(method, shapes=[(100, 75)] * 3, sizes=[(50, 70)] * 3)


@given(
    images=st.integers(2, 4), size=st.tuples(st.integers(8, 40), st.integers(8, 40)), prob_thd=st.sampled_from([0, 0.3])
)
@settings(max_examples=30)
def test_several_images_decided_as_one(images, size, prob_thd):
    windows = Windows.over((32, 48), 32, 16)
    several = [PixelLogits(torch.randn(len(windows), 6, 4, 4), windows, size) for _ in range(images)]
    query_class, multiplicity = torch.tensor([0, 0, 1, 2, 2, 3]), torch.tensor([1.0, 2, 1, 1, 1, 1])
    # Before, so that what an image has computed for itself is not taken for all of them.
    alone = [decide(one, query_class, multiplicity, 5.0, prob_thd) for one in several]
    together = decide(PixelLogits.together(several), query_class, multiplicity, 5.0, prob_thd)
    assert together.shape == (images, *size)
    for ours, expected in zip(together, alone, strict=True):
        assert (ours != expected).float().mean() < 0.01


@pytest.mark.usefixtures('at_once')
def test_an_image_more_of_a_size_is_hardly_a_launch_more():
    """One to bring its windows' logits together, one to tell its pixels from those of others when they are counted."""
    method, preprocessor = model(window_batch=64, prob_thd=0.1), ImagePreprocessor()

    def launched(count):
        images = list(torch.randint(0, 256, (count, 3, 64, 96), dtype=torch.uint8))
        samples = [SegDataSample(metainfo=dict(ori_shape=(50, 70))) for _ in images]
        truths = torch.zeros(count, 50, 70, dtype=torch.uint8)
        with Launches() as launches:
            inputs = preprocessor(dict(inputs=images))['inputs']
            confusion.batch_cells(zip(*pipeline.segment([method], inputs, samples), truths, strict=True), 21)
        return launches.counted

    launched(2)
    assert launched(8) - launched(4) <= 2 * 4


@pytest.mark.parametrize(('pixels', 'expected'), [(1, [1] * 5), (5000, [2, 1, 1, 1]), (2**20, [5])])
def test_images_are_counted_together_up_to_a_number_of_pixels(pixels, expected, monkeypatch):
    monkeypatch.setitem(confusion.PIXELS, 'cpu', pixels)
    counted, of = [], confusion._counts
    monkeypatch.setattr(confusion, '_counts', lambda pairs, *rest: counted.append(len(pairs)) or of(pairs, *rest))
    pairs = [tuple(torch.randint(0, 5, (2, *size))) for size in [(30, 40), (50, 60), (30, 40), (80, 90), (1, 1)]]
    cells = confusion.batch_cells(pairs, 5)
    assert counted == expected
    for of_image, pair in zip(cells, pairs, strict=True):
        assert (of_image == confusion.to_cells(confusion.confusion_matrix(*pair, 5))).all()


def test_a_truth_of_another_shape_is_refused():
    """Also where it has as many pixels."""
    with pytest.raises(ValueError, match=r'a prediction is \(3, 4\), its truth \(4, 3\)'):
        confusion.batch_cells([(torch.zeros(3, 4), torch.zeros(4, 3))], 5)


def test_images_of_several_sizes_stay_in_their_order():
    images = [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in SHAPES]
    preprocessor = ImagePreprocessor()
    for ours, image in zip(preprocessor(dict(inputs=images))['inputs'], images, strict=True):
        expected = (image.flip(0).float() - preprocessor.mean) / preprocessor.std
        assert torch.equal(ours, expected)
