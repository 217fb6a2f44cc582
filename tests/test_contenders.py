"""Queries that another one leads everywhere are not refined, and no label is another for it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naclip_bench.inference.contenders import contenders
from naclip_bench.inference.decide import NOT_FINITE, decide
from naclip_bench.inference.pamr import PAMR, RefinedLogits
from naclip_bench.inference.pixel_graph import PixelGraph
from naclip_bench.inference.stitch import PixelLogits
from naclip_bench.inference.windows import Windows

pytestmark = pytest.mark.numeric

WINDOWS = Windows.over((32, 48), 32, 16)
CLASSES, COUNTS = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5]), torch.ones(8)


def logits_of(seed, spread=1.0, size=(37, 50)):
    """Eight queries that differ in general as well as from patch to patch."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(len(WINDOWS), 8, 4, 4, generator=generator)
    return PixelLogits(patches + spread * torch.randn(8, 1, 1, generator=generator), WINDOWS, size)


def refined(logits, settings, seed=0):
    return settings(logits, torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(seed)))


@given(seed=st.integers(0, 10**6), queries=st.integers(1, 12), margin=st.sampled_from([0.0, 0.1, 1.0]))
def test_contenders_are_those_that_none_leads(seed, queries, margin):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(queries, 5, generator=generator) + 2 * torch.randn(queries, 1, generator=generator)
    led = ((logits[:, None] - logits).amin(2) > margin).any(0)
    assert contenders(logits, margin).tolist() == (~led).nonzero()[:, 0].tolist()


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    iterations=st.integers(1, 10),
    dilations=st.sampled_from([(1,), (8, 16)]),
)
@settings(max_examples=40)
def test_no_label_is_another(seed, spread, iterations, dilations):
    """Beside all queries refined; where two are highest but for rounding, either will do."""
    logits = refined(logits_of(seed, spread), PAMR(iterations, dilations), seed)
    highest = logits.full().topk(2, dim=0)
    clear = highest.values[0] - highest.values[1] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal(decide(logits, CLASSES, COUNTS, 5.0)[clear], CLASSES[highest.indices[0]][clear])


@pytest.fixture
def asked(monkeypatch):
    """Queries of each block of logits that is refined."""
    seen, of = [], RefinedLogits.query_block

    def query_block(self, queries):
        seen.append(len(range(self.queries)[queries]))
        return of(self, queries)

    monkeypatch.setattr(RefinedLogits, 'query_block', query_block)
    return seen


def test_what_is_led_is_not_refined(asked):
    logits = logits_of(0)
    logits._of_windows[:, 5:] -= 100
    decide(refined(logits, PAMR(2)), CLASSES, COUNTS, 5.0)
    assert asked == [len(contenders(logits.of_patches(), 0.01))]
    assert asked[0] <= 5


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        # A threshold is of a probability among all words.
        (PAMR(2), dict(prob_thd=0.1)),
        (PAMR(2), dict(prob_thd=torch.full((6,), 0.1))),
        # Half precision rounds more than a lead is worth.
        (PAMR(2, storage='fp16'), dict()),
    ],
)
def test_all_are_refined_where_more_than_the_order_counts(settings, rule, asked):
    logits = logits_of(0)
    logits._of_windows[:, 5:] -= 3
    decide(refined(logits, settings), CLASSES, COUNTS, 5.0, **rule)
    assert set(asked) == {8}


def test_classes_of_a_small_area_are_found_by_those_that_can_win(asked):
    """What leads may be taken out, so that all are refined for the decision itself."""
    logits = logits_of(0)
    logits._of_windows[:, 5:] -= 100
    led, rule = refined(logits, PAMR(2)), dict(area_thd=0.2)
    labels = decide(led, CLASSES, COUNTS, 5.0, **rule)
    assert asked[0] <= 5 and asked[1:] == [8]
    led.contenders, led.computed = (lambda: None), {}
    assert torch.equal(labels, decide(led, CLASSES, COUNTS, 5.0, **rule))


def test_conjugate_gradients_are_no_mean():
    assert refined(logits_of(0, spread=100), PixelGraph()).contenders() is None


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_stay(value):
    logits = logits_of(0, spread=100)
    logits._of_windows[0, 3, 0, 0] = value
    refinement = refined(logits, PAMR(1, (1,)))
    assert refinement.contenders().tolist() == list(range(8))
    if value != -torch.inf:
        assert (decide(refinement, CLASSES, COUNTS, 5.0) == NOT_FINITE).any()


def test_a_lead_that_rounding_may_undo_is_none():
    patches = torch.full((1, 2, 4, 4), 1000.0)
    patches[:, 1] += 0.01
    logits = PixelLogits(patches, Windows.over((32, 32), None, 1), (37, 50))
    assert refined(logits, PAMR()).contenders().tolist() == [0, 1]
    patches[:, 1] += 1
    assert refined(logits, PAMR()).contenders().tolist() == [1]
