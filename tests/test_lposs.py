"""LPOSS and LPOSS+ equal their released code; their graphs and their solver are what they say."""

import numpy as np
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from helper import random_features, tiny_helper, with_text
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from scipy.sparse.linalg import cg
from torch.nn import functional as F

from naclip_bench.inference.propagation import conjugate_gradients, pixel_graph, propagated, to_lab
from naclip_bench.inference.windows import Windows
from naclip_bench.methods.lposs import method
from naclip_bench.methods.lposs.graph import node_graph
from naclip_bench.methods.lposs.method import highest_of_class, node_places
from naclip_bench.segment.running import _why_whole

pytestmark = pytest.mark.numeric

STORED = golden('lposs.npz')

#: The released model has CLIP with GELU.
GELU = dict(TINY, quick_gelu=False)


def build(class_names='lposs_voc21', **settings):
    backbone = dict(arch=GELU, pretrained=None)
    return MODELS.build(
        dict(dict(type='LPOSS', class_names=class_names, backbone=backbone, helper=tiny_helper(16)), **settings)
    )


def seen_of(monkeypatch):
    """What is computed on the way."""
    seen = dict(propagated=[])

    def noted(name):
        function = getattr(method, name)

        def of(*arguments):
            out = function(*arguments)
            seen[name] = [*seen.get(name, []), (arguments[:2], out)]
            return out

        monkeypatch.setattr(method, name, of)

    for name in ('node_graph', 'propagated', 'pixel_graph'):
        noted(name)
    return seen


def released_input(model, height, width):
    """The released code is given RGB in 0..1."""
    mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in model.backbone.colors)
    rgb = (random_image(height, width)[0] * deviation + mean).clamp(0, 1)
    return (rgb - mean) / deviation


CASES = {
    'lposs/voc21/336x448-at250x333': ((336, 448), (250, 333), dict()),
    'lposs/voc21-texts/336x448-at250x333': ((336, 448), (250, 333), dict()),
    'lposs/voc21-texts/whole-224x336-k200': ((224, 336), (224, 336), dict(window=None, neighbors=200)),
    'lposs+/voc21-texts/224x336-at250x333-k200': ((224, 336), (250, 333), dict(pixels=True, neighbors=200)),
}


def test_no_stored_output_is_left_out():
    assert {key.rsplit('/', 1)[0] for key in STORED} == set(CASES)


@pytest.mark.parametrize('case', CASES)
def test_every_step_is_the_released_one(monkeypatch, case):
    (sides, size, settings), seen = CASES[case], seen_of(monkeypatch)
    stored = {key.rsplit('/', 1)[1]: value for key, value in STORED.items() if key.rsplit('/', 1)[0] == case}
    model = build(**settings)
    if 'texts' not in case:
        assert largest_difference(model.text.vectors, stored['query_features']) < 1e-6
    with_text(model, stored['query_features'])
    image, samples = released_input(model, *sides), [SegDataSample(metainfo=dict(ori_shape=size))]
    logits = model([image], samples, mode='tensor')[0]

    (features, _), graph = seen['node_graph'][0]
    (_, first), spread = seen['propagated'][0]
    of_nodes = dict(dino_nodes=(features, 1e-5), P0=(first, 5e-6), P_lposs=(spread, 1e-4))
    for key, value in stored.items():
        name, _, every = key.rstrip(']').partition('[::')
        if name in of_nodes:
            found, tolerance = of_nodes[name]
            assert largest_difference(found[:: int(every)], value) < tolerance, key
    if 'S_nnz' in stored:
        # A node whose last neighbor is as like as the next may have either: two entries more or less.
        highest = (features @ features.T).topk(model.neighbors + 1).values
        tied = int((highest[:, -2] - highest[:, -1] < 1e-6).sum())
        assert abs(int(graph.values().count_nonzero()) - int(stored['S_nnz'])) <= 2 * tied
        assert tied <= len(features) // 100, 'else the count says nothing'
        rows = graph.to_dense()[stored['S_rows'].long()[::3]] if 'S[rows[::3]]' in stored else None
        assert rows is None or largest_difference(rows, stored['S[rows[::3]]']) < 2e-5

    # Here scores are smaller by 1 - alpha, once a propagation; the words of a class all have the highest.
    factor, first_words = 20.0, [model.vocabulary.query_class.tolist().index(index) for index in range(21)]
    largest = stored['out[:,::25,::25]'].abs().max() if 'lposs+' not in case else 0
    if 'lposs+' in case:
        (_, before), after = seen['propagated'][1]
        assert largest_difference(factor * before[::940], stored['plus_in[::940]']) < 1e-4
        largest = stored['plus_out[::940]'].abs().max()
        assert largest_difference(factor * after[::940], stored['plus_out[::940]']) < 2e-5 * largest
        check_pixel_graph(seen['pixel_graph'][0][1], stored)
    scale = factor ** len(seen['propagated'])
    tolerance = 2e-5 * float(largest) if 'lposs+' in case else 1e-4
    assert largest_difference(scale * logits[first_words][:, ::25, ::25], stored['out[:,::25,::25]']) < tolerance
    labels = model([image], samples, mode='predict')[0].pred_sem_seg.data[0]
    assert (labels == stored['pred']).float().mean() >= 0.9999


def check_pixel_graph(graph, stored):
    rows = [key for key in stored if key.startswith('plus_S_row') and not key.endswith('_cols')]
    assert len(rows) == 3
    for key in rows:
        row = int(key.removeprefix('plus_S_row'))
        entries = slice(*graph.crow_indices()[row : row + 2].tolist())
        there = graph.values()[entries] != 0
        assert torch.equal(graph.col_indices()[entries][there], stored[f'{key}_cols'])
        assert largest_difference(graph.values()[entries][there], stored[key]) < 2e-5


# ---- graphs


def test_node_graph_written_out():
    features = F.normalize(random_features(6, 4, 5)[0].flatten(1).T, dim=-1)
    places = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)) * 100
    expected = torch.zeros(20, 20, dtype=torch.float64)
    for i in range(20):
        similar = features[i] @ features.T
        for j in similar.argsort(descending=True)[:7].tolist():
            distance = (places[i] - places[j]).norm()
            expected[i, j] = max(similar[j], 0) ** 3 * torch.exp(-0.01 * distance)
    expected = expected + expected.T
    expected.fill_diagonal_(0)
    degrees = expected.sum(1)
    expected = expected / (degrees[:, None] * degrees).sqrt()
    assert largest_difference(node_graph(features, places, 7, 3.0, 0.01).to_dense(), expected) < 1e-6
    # More neighbors than nodes: all are.
    assert node_graph(features, places, 400, 3.0, 0.01).to_dense().shape == (20, 20)


def test_pixel_graph_written_out():
    image, (height, width) = torch.rand(3, 19, 7, generator=torch.Generator().manual_seed(0)), (19, 7)
    lab = to_lab(image).flatten(1).T.double()
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij'))
    near = ((row[:, None] - row).abs() <= 2) & ((column[:, None] - column).abs() <= 2)
    expected = torch.exp(-torch.cdist(lab, lab) / 0.1) * near
    expected.fill_diagonal_(0)
    degrees = expected.sum(1)
    expected = expected / (degrees[:, None] * degrees).sqrt()
    assert largest_difference(pixel_graph(image, 2, 0.1).to_dense(), expected) < 1e-4


def test_lab_is_opencvs():
    """But for its tables."""
    cv2 = pytest.importorskip('cv2')
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    expected = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2LAB) / np.array([100, 128, 128])
    assert largest_difference(to_lab(image).permute(1, 2, 0), torch.from_numpy(expected)) < 5e-3


def test_a_graph_without_edges_changes_nothing():
    """Features that nothing resembles, and a single patch."""
    for count in (8, 1):
        graph = node_graph(torch.eye(count), torch.zeros(count, 2), 4, 3.0, 0.01)
        scores = torch.randn(count, 3)
        assert largest_difference(propagated(graph, scores, 0.95, 10), scores) < 1e-6


def test_conjugate_gradients_are_scipys():
    """Column by column, stopped early, and run to their end."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    system, target = root @ root.T + 5 * torch.eye(30), torch.randn(30, 4, generator=generator, dtype=torch.float64)
    target[:, 2] = 0
    for iterations in (3, 200):
        found = conjugate_gradients(lambda x: system @ x, target, iterations)
        for column in range(4):
            expected, _ = cg(system.numpy(), target[:, column].numpy(), rtol=1e-6, atol=0, maxiter=iterations)
            assert largest_difference(found[:, column], torch.from_numpy(expected)) < 1e-9
    assert largest_difference(system @ conjugate_gradients(lambda x: system @ x, target, 200), target) < 1e-4


def test_nodes_lie_where_their_patches_do():
    windows = Windows.over((336, 500), 224, 112)
    places = node_places(windows, (14, 14), 16)
    assert len(places) == len(windows) * 196
    assert places[0].tolist() == [8, 8]
    assert places[-1].tolist() == [328, 492]
    # A helper of half the patch, and a window with a remainder that is not seen.
    assert node_places(Windows.over((40, 50), None, 1), (4, 6), 16)[-1].tolist() == [28, 44]


def test_words_of_a_class_have_its_highest_score():
    maps = torch.tensor([[1.0, 5.0], [3.0, 2.0], [0.0, -1.0]])[:, None]
    found = highest_of_class(maps, torch.tensor([0, 0, 1]))
    assert found[:, 0].tolist() == [[3, 5], [3, 5], [0, -1]]


def test_a_class_counts_once_in_a_threshold():
    """With 26 words for the background, what a pixel's class is sure of depends on 21 classes, not on 46 words."""
    model = build(prob_thd=0.5)
    image, samples = released_input(model, 224, 224), [SegDataSample(metainfo=dict(ori_shape=(224, 224)))]
    logits = model([image], samples, mode='tensor')[0]
    first_words = [model.vocabulary.query_class.tolist().index(index) for index in range(21)]
    sure, expected = (40 * logits[first_words]).softmax(0).max(0)
    expected[sure < 0.5] = 0
    labels = model([image], samples, mode='predict')[0].pred_sem_seg.data[0]
    assert (labels == expected).float().mean() > 0.9999
    assert (sure < 0.5).any()


def test_a_large_image_of_ones_own_is_refused_before_it_is_cut():
    assert _why_whole(build()) == 'LPOSS looks at the patches of the whole image'
