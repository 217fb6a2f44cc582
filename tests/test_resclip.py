"""ResCLIP: equal to its released code without and with RCS, and with its semantic feedback behind the first pass."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from naclip_bench.errors import BenchError
from naclip_bench.methods.resclip.feedback import lines, patch_labels, same_class

pytestmark = pytest.mark.numeric

STORED = golden('resclip.npz')
CPU = torch.device('cpu')


def build(kind='ResCLIP', precision='fp32', **settings):
    backbone = dict(arch=TINY, pretrained=None, precision=precision)
    return MODELS.build(dict(type=kind, class_names='voc20', templates='photo', backbone=backbone, **settings))


@torch.no_grad()
@pytest.mark.parametrize(('name', 'rcs'), [('none', None), ('rcs', (2.0, 0.4))])
def test_tokens_are_the_released_ones(name, rcs):
    tokens, _ = build(rcs=rcs, sfr=None).window_tokens(random_image(224, 224))
    assert largest_difference(tokens, STORED[name]) < 1e-5


@torch.no_grad()
def test_the_feedback_leaves_cls_its_released_token():
    """M is 0 in the row of [CLS], whose token therefore tells that the scores are weighted and RCS is applied again."""
    tokens, _ = build().window_tokens(random_image(224, 224))
    assert largest_difference(tokens[:, 0], STORED['rcs+sfr'][:, 0]) < 1e-5


@torch.no_grad()
def test_tokens_with_feedback_are_the_released_ones(monkeypatch):
    """All that is behind the first pass, whose text is not known: its classes were inferred from the stored tokens.

    They are two in smooth regions, 196 bits that explain 12 544 numbers; the next test changes one of them.
    """
    model, classes = build(), STORED['rcs+sfr/classes'].flatten().long()
    monkeypatch.setattr(model, 'first_pass', lambda tokens, trunk: classes[None])
    tokens, _ = model.window_tokens(random_image(224, 224))
    assert largest_difference(tokens, STORED['rcs+sfr']) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize('patch', [0, 42, 150, 195])
def test_no_patch_could_be_of_another_class(monkeypatch, patch):
    model, classes = build(), STORED['rcs+sfr/classes'].flatten().long()
    classes[patch] = 1 - classes[patch]
    monkeypatch.setattr(model, 'first_pass', lambda tokens, trunk: classes[None])
    tokens, _ = model.window_tokens(random_image(224, 224))
    assert largest_difference(tokens, STORED['rcs+sfr']) > 1e-2


@torch.no_grad()
def test_the_switches_switch():
    image = random_image(96, 160)
    naclip, _ = build('NACLIP').window_tokens(image)
    outputs = {
        (rcs, sfr): build(rcs=rcs, sfr=sfr).window_tokens(image)[0]
        for rcs in (None, (2.0, 0.4))
        for sfr in (None, (1.8, 0.7))
    }
    assert largest_difference(outputs.pop((None, None)), naclip) < 1e-5
    everything = [naclip, *outputs.values()]
    for index, one in enumerate(everything):
        assert all(largest_difference(one, other) > 1e-3 for other in everything[index + 1 :])
    # A share of 0 leaves only tau, and a tau of 1 nothing.
    assert largest_difference(build(rcs=(1.0, 0.0), sfr=(1.0, 0.0)).window_tokens(image)[0], naclip) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_attention_weights_gather_the_values(precision):
    model = build(precision=precision)
    trunk = model.backbone.trunk(random_image(64, 96), model.shared_depth, attention=model.inner_attention)
    weights = model.attention_weights(trunk)
    # tau is 2: so much do the rows sum to.
    assert largest_difference(weights.float().sum(-1), torch.tensor(2.0)) < (1e-5 if precision == 'fp32' else 0.02)
    _, _, value = model.backbone.blocks[-1].qkv(trunk.tokens)
    assert torch.equal(model.output_tokens(weights, value), model.dense_tokens(trunk))


def test_the_threshold_sends_pixels_to_the_first_query():
    image, sample = random_image(96, 160)[0], SegDataSample(metainfo=dict(ori_shape=(96, 160)))
    logits = [build(temp_thd=thd)([image], [sample], mode='tensor')[0] for thd in (0.0, 1.0)]
    assert largest_difference(*logits) > 1e-4


def walk(start, end, longest):
    """The patches that are looked at, a step at a time, in whole numbers; what is midway goes to the even patch."""

    def nearest(numerator):
        below, rest = divmod(numerator, longest)
        return below + (2 * rest > longest or (2 * rest == longest and below % 2))

    steps = max(abs(a - b) for a, b in zip(start, end, strict=True))
    return [
        tuple(nearest(a * longest + step * (b - a)) for a, b in zip(start, end, strict=True))
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize('grid', [(1, 1), (1, 5), (5, 1), (6, 9), (9, 4), (14, 14)])
def test_lines(grid):
    steps, places = lines(grid, CPU), [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    for i, start in enumerate(places):
        for j, end in enumerate(places):
            points = [places[k] for k in steps[:, i, j].tolist()] if len(steps) else []
            expected = walk(start, end, max(grid) - 1)
            assert points == expected + (expected or [start])[-1:] * (len(points) - len(expected))


def test_lines_reach_their_end_only_where_it_is_farthest():
    steps = lines((14, 14), CPU)
    assert steps[:, 0, 2].unique().tolist() == [0]
    assert steps[:, 0, 6].unique().tolist() == [0, 1, 2, 3]
    assert steps[:, 0, 13].tolist() == list(range(1, 14))


def test_same_class_the_plain_way():
    """Each window of a batch by itself, entry by entry, on a grid that is no square."""
    grid = (4, 7)
    labels = torch.randint(0, 3, (3, 28), generator=torch.Generator().manual_seed(3))
    places = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    kernel = torch.exp(-((torch.arange(31) - 15) ** 2) / 50.0)
    for one, got in zip(labels, same_class(labels, grid), strict=True):
        links = torch.zeros(28, 28)
        for i, start in enumerate(places):
            for j, end in enumerate(places):
                if one[i] == one[j]:
                    stays = all(one[y * 7 + x] == one[i] for y, x in walk(start, end, 6))
                    distance = max(abs(start[0] - end[0]), abs(start[1] - end[1]))
                    links[i, j] = 1 if stays else torch.exp(torch.tensor(-distance / 6))
        blurred = torch.stack(
            [
                torch.stack(
                    [
                        sum(links[i, k] * kernel[15 + k - j] for k in range(max(0, j - 15), min(28, j + 16)))
                        for j in range(28)
                    ]
                )
                for i in range(28)
            ]
        )
        rows = blurred / blurred.sum(1, keepdim=True)
        assert largest_difference(got, rows / rows.max()) < 1e-3


def test_patch_labels_are_the_most_frequent():
    labels = torch.zeros(1, 35, 50, dtype=torch.int64)
    labels[0, :16, 16:32] = 2
    labels[0, 16:32, :8] = 1
    labels[0, 16:32, 16:25] = 4
    labels[0, :, 48:] = 3
    # A tie goes to the lower label; what is behind the last whole patch is not seen.
    assert patch_labels(labels, (2, 3), 16, 5).tolist() == [[0, 2, 0, 0, 4, 0]]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(rcs=(2.0,)), r'rcs is \(2\.0,\); it must be \(a number above 0, a number from 0 to 1\) or None'),
        (dict(sfr=(1.8, 1.7)), r'sfr is \(1\.8, 1\.7\)'),
        (dict(sfr=True), 'sfr is True'),
        (dict(temp_thd=11), 'temp_thd is 11'),
        (dict(blocks=(5, 11)), r'blocks is \(5, 11\); with this backbone they must be under 11'),
    ],
)
def test_wrong_settings_are_said(settings, message):
    with pytest.raises(BenchError, match=message):
        build(**settings)
