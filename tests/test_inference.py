"""Windows, stitch, PAMR and decision: equal to the plain way on any input."""

from itertools import pairwise
from unittest.mock import patch

import pytest
import torch
from golden import largest_difference
from hypothesis import given, settings
from hypothesis import strategies as st

from naclip_bench.errors import BenchError
from naclip_bench.inference import pamr, stitch
from naclip_bench.inference.decide import NOT_FINITE, decide
from naclip_bench.inference.pamr import PAMR
from naclip_bench.inference.refinement import CHUNK_ELEMENTS, VECTOR
from naclip_bench.inference.stitch import PixelLogits
from naclip_bench.inference.windows import Windows, starts
from naclip_bench.speed.plain import plain_decide, plain_logits, plain_pamr

pytestmark = pytest.mark.numeric

few = settings(max_examples=40)
sides = st.integers(min_value=16, max_value=90)


@given(size=st.integers(1, 3000), window=st.integers(1, 600), data=st.data())
def test_windows_cover_a_side_and_stay_inside(size, window, data):
    stride = data.draw(st.integers(1, window))
    found = starts(size, window, stride)
    assert len(found) == max(size - window + stride - 1, 0) // stride + 1
    assert found[0] == 0
    assert found[-1] == max(size - window, 0)
    assert all(0 < b - a <= stride for a, b in pairwise(found))


@pytest.mark.parametrize(('size', 'count'), [((336, 448), 6), ((336, 500), 8), ((560, 1120), 36), ((100, 500), 4)])
def test_number_of_windows(size, count):
    assert len(Windows.over(size, 224, 112)) == count
    assert len(Windows.over(size, None, 112)) == 1


def random_windows(size, window, stride, queries, seed, patch=8):
    """Patch logits of an image's windows, and a function that gives them out in the plain way's order."""
    windows = Windows.over(size, window, stride)
    rows, columns = (side // patch for side in windows.window)
    patches = torch.randn(len(windows), queries, rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.1
    order = iter(patches)
    return windows, patches, lambda crop: next(order)[None]


@given(size=st.tuples(sides, sides), original=st.tuples(sides, sides), data=st.data())
@few
def test_stitch_is_upsampling_averaging_and_resizing(size, original, data):
    window = data.draw(st.one_of(st.none(), st.integers(8, 64)))
    stride = data.draw(st.integers(4, window)) if window else 1
    windows, patches, one_by_one = random_windows(size, window, stride, 3, 0)
    expected = plain_logits(one_by_one, torch.zeros(3, *size), original, window, stride)
    logits = PixelLogits(patches, windows, original)
    assert largest_difference(logits.full(), expected) < 1e-5
    for rows, blocks in logits.regions():
        for queries, block in blocks:
            assert largest_difference(block.transpose(0, 1), expected[queries, rows]) < 1e-5


@pytest.fixture
def small_blocks(monkeypatch):
    """Bands of a few rows, so that a small image has many."""
    monkeypatch.setitem(stitch.BLOCK_ELEMENTS, 'cpu', 2000)


#: How many words each class has.
synonyms = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@given(
    words=synonyms,
    prob_thd=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    area_thd=st.sampled_from([None, 0.1, 0.4]),
    repeats=st.booleans(),
    refine=st.sampled_from([None, 1, 3, 64]),
    seed=st.integers(0, 1000),
)
@few
def test_decision_is_softmax_merge_and_threshold(words, prob_thd, area_thd, repeats, refine, seed):
    """Against dense probabilities: synonyms, words that stand in two classes, thresholds, and any chunk of queries."""
    word_class = torch.tensor([index for index, count in enumerate(words) for _ in range(count)])
    occurrences = torch.arange(len(word_class))
    if repeats and len(words) > 1:
        occurrences[-1] = 0  # the last class repeats the first word of the first
    distinct = len(occurrences.unique())
    windows, patches, _ = random_windows((48, 56), 32, 16, distinct, seed)
    logits = PixelLogits(patches, windows, (40, 61))
    if refine is not None:
        image = torch.randn(3, 48, 56, generator=torch.Generator().manual_seed(seed))
        logits = PAMR(iterations=2, dilations=(1, 3), query_chunk=refine)(logits, image)
    query_class = word_class[:distinct]
    multiplicity = torch.bincount(occurrences, minlength=distinct).float()
    labels = decide(logits, query_class, multiplicity, 40.0, prob_thd, area_thd)
    expected = plain_decide(logits.full()[occurrences], word_class, 40.0, prob_thd, area_thd)
    # Pixels within rounding of a threshold or of a tie may differ; the random logits have next to none.
    assert (labels == expected).float().mean() > 0.999


@pytest.mark.usefixtures('small_blocks')
def test_bands_make_the_same_decision():
    windows, patches, _ = random_windows((48, 56), 32, 16, 5, 7)
    logits = PixelLogits(patches, windows, (400, 301))
    assert len(list(logits.regions())) > 100
    query_class, once = torch.tensor([0, 0, 1, 2, 3]), torch.ones(5)
    labels = decide(logits, query_class, once, 40.0, 0.3)
    assert torch.equal(labels, plain_decide(logits.full(), query_class, 40.0, 0.3, None))


def test_equal_logits_go_to_the_first_class():
    logits = PixelLogits(torch.zeros(1, 3, 2, 2), Windows.over((16, 16), None, 1), (16, 16))
    assert decide(logits, torch.tensor([0, 1, 2]), torch.ones(3), 40.0).eq(0).all()


def test_a_repeated_word_halves_its_probability():
    """COCO-Object's "bed" is both background and a class: it counts twice in the softmax and never wins as a class."""
    patches = torch.tensor([0.0, 0.02])[None, :, None, None].expand(1, 2, 2, 2)
    logits = PixelLogits(patches, Windows.over((8, 8), None, 1), (8, 8))
    probability = float(torch.tensor([0.0, 0.8]).exp()[1] / (1 + 2 * torch.tensor(0.8).exp()))
    query_class, twice = torch.tensor([0, 1]), torch.tensor([1.0, 2.0])
    assert decide(logits, query_class, twice, 40.0, probability - 1e-4).eq(1).all()
    assert decide(logits, query_class, twice, 40.0, probability + 1e-4).eq(0).all()


def test_where_no_query_can_win_nothing_is_labeled():
    logits = PixelLogits(torch.full((1, 4, 1, 1), -torch.inf), Windows.over((16, 16), 16, 16), (16, 16))
    assert (decide(logits, torch.arange(4), torch.ones(4), 40.0) == NOT_FINITE).all()


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('chunk', [1, 8])
def test_a_logit_that_is_not_finite_is_no_class(bad, chunk):
    patches = torch.zeros(1, 4, 4, 4)
    patches[0, 1, 0, 0] = bad
    logits = PixelLogits(patches, Windows.over((32, 32), None, 1), (32, 32))
    assert (decide(logits, torch.arange(4), torch.ones(4), 40.0, 0.1) == NOT_FINITE).any()
    refined = PAMR(1, (1,), chunk)(logits, torch.randn(3, 32, 32))
    assert (decide(refined, torch.arange(4), torch.ones(4), 40.0, 0.1) == NOT_FINITE).any()


@given(
    size=st.tuples(sides, sides),
    dilations=st.sampled_from([(1,), (8, 16), (1, 2, 4)]),
    chunk=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
@few
def test_refinement_is_the_plain_one_whatever_the_chunk(size, dilations, chunk, seed):
    generator = torch.Generator().manual_seed(seed)
    patches, image = torch.randn(1, 6, 3, 4, generator=generator), torch.randn(3, 20, 30, generator=generator)
    logits = PixelLogits(patches, Windows.over((24, 32), None, 1), size)
    settings = PAMR(3, dilations, chunk)
    assert largest_difference(settings(logits, image).full(), plain_pamr(logits.full(), image, settings)) < 1e-5


@given(
    size=st.tuples(st.integers(9, 200), st.integers(9, 130)),
    dilations=st.sampled_from([(1,), (8, 16), (1, 2, 4)]),
    elements=st.integers(1, 10**5),
)
@few
def test_weights_are_the_same_bits_whatever_the_bands(size, dilations, elements):
    image = torch.rand(3, *size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several share an image's sums among them, and where one's part ends is another rounding
    try:
        with patch.dict(pamr.BAND_ELEMENTS, cpu=2**31):
            whole = PAMR(dilations=dilations).affinity(image)
        with patch.dict(pamr.BAND_ELEMENTS, cpu=elements):
            in_bands = PAMR(dilations=dilations).affinity(image)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(in_bands, whole)
    assert torch.allclose(whole.sum(1), torch.ones(len(whole)), atol=1e-5)


def test_weights_are_the_same_with_all_channels_at_once():
    image = torch.rand(3, 40, 50)
    expected = PAMR().affinity(image)
    with patch.dict(pamr.CHANNELS, cpu=3):
        assert largest_difference(PAMR().affinity(image), expected) < 1e-6


@given(size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
def test_bands_are_the_image_and_of_whole_vectors(size):
    found = list(pamr.bands(size, 16, torch.device('cpu')))
    assert [row for band in found for row in band] == list(range(size[0]))
    assert all(len(band) * size[1] % 64 == 0 for band in found[:-1])


@pytest.mark.numeric
def test_maps_kept_in_half_precision_are_the_same_but_for_its_rounding():
    generator = torch.Generator().manual_seed(0)
    patches, image = torch.randn(1, 6, 3, 4, generator=generator), torch.randn(3, 20, 30, generator=generator)
    logits = PixelLogits(patches, Windows.over((24, 32), None, 1), (37, 41))
    exact, half = (PAMR(5, storage=storage)(logits, image).full() for storage in ('fp32', 'fp16'))
    assert half.dtype == torch.float32
    assert 1e-5 < largest_difference(half, exact) < 6 * 2**-11 * float(exact.abs().max())


def test_labels_are_ones_own():
    logits = PixelLogits(torch.randn(1, 4, 4, 4), Windows.over((32, 32), None, 1), (32, 32))
    settings = (torch.arange(4), torch.ones(4), 40.0, 0.0)
    first = decide(logits, *settings)
    kept = first.clone()
    first.fill_(7)
    assert torch.equal(decide(logits, *settings), kept)


@given(queries=st.integers(1, 900), size=st.tuples(st.integers(16, 2048), st.integers(16, 2048)))
def test_chunks_are_whole_vectors_of_like_size(queries, size):
    chunks = PAMR().chunks(queries, size, torch.device('cpu'))
    assert [query for chunk in chunks for query in range(queries)[chunk]] == list(range(queries))
    first = chunks[0].stop
    assert first % VECTOR == 0 or len(chunks) == 1
    most = max(VECTOR, CHUNK_ELEMENTS['cpu'] // (size[0] * size[1]))
    assert first <= most
    # None is smaller than another by more than a vector for each chunk.
    assert len(chunks) * first < queries + VECTOR * len(chunks)


def test_refinement_out_of_memory_says_what_to_lower(monkeypatch):
    def fails(*_, **__):
        raise torch.OutOfMemoryError('CUDA out of memory')

    logits = PixelLogits(torch.zeros(1, 3, 2, 2), Windows.over((16, 16), None, 1), (20, 30))
    refined = PAMR()(logits, torch.zeros(3, 16, 16))
    monkeypatch.setattr(torch.nn.functional, 'embedding_bag', fails)
    with pytest.raises(BenchError, match=r'20x30; lower model\.refine\.query_chunk, which is 3 here'):
        refined.full()
