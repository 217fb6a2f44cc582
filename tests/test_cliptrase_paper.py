"""CLIPtrase as its paper writes it, held against literal transcriptions of its equations."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from golden import TINY, largest_difference, random_image
from helper import tiny_helper
from literal import cosine, dot, finished, gathered, projected, rows, softmax
from sklearn.cluster import DBSCAN
from tiny import TinyBench

from naclip_bench.configuration import load_config
from naclip_bench.datasets.mask_beside_image import MaskBesideImage
from naclip_bench.datasets.preprocessor import ImagePreprocessor
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import passes_of
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.methods.cliptrase import CLIPtrase
from naclip_bench.methods.cliptrase.regions import cluster_maps, local_patches, patch_regions, regional_mean

pytestmark = pytest.mark.numeric

GRID = (3, 4)
IMAGE = random_image(48, 64)
#: Labels of the middles of the patches; elsewhere in a patch there is another.
LABELS = torch.tensor([[7, 7, 2, 2], [7, 255, 255, 2], [0, 0, 255, 7]])


def cliptrase(**settings):
    return CLIPtrase(class_names='voc20', backbone=dict(arch=TINY, pretrained=None), **settings)


def with_mask(image, labels):
    """The image with a mask beside it that has ``labels`` in the middle of each patch alone."""
    mask = torch.full(image.shape[-2:], 9.0)
    mask[8::16, 8::16] = labels.float()
    return torch.cat([image, mask[None, None]], dim=1)


def written_correlation(of, measure, heads, names='qkv'):
    """W: eq. 3, or eq. 14 where the heads are joined, with either gamma."""
    gamma = cosine if measure == 'cosine' else lambda a, b: dot(a, b) / math.sqrt(len(a))
    if heads == 'joined':
        of = {name: [[[*chain(*parts)] for parts in zip(*of[name], strict=True)]] for name in names}
    count = len(of['q'][0])
    sets = [head for name in names for head in of[name]]
    return [[math.fsum(gamma(x[i], x[j]) for x in sets) / len(sets) for j in range(count)] for i in range(count)]


def within_truth():
    """Which token sees which: patches those of their label, [CLS] all."""
    labels = [None, *LABELS.flatten().tolist()]
    return [[i == 0 or a == b for b in labels] for i, a in enumerate(labels)]


@torch.no_grad()
@pytest.mark.parametrize('within', [None, 'truth'])
@pytest.mark.parametrize('heads', ['apart', 'joined'])
@pytest.mark.parametrize('measure', ['cosine', 'product'])
@pytest.mark.parametrize('recover', ['qkv', 'qk'])
def test_the_correlation_is_the_attention(recover, measure, heads, within):
    """Eq. 3, and the rows <x_i, x_j>, COS(x_i, x_j) and COS(x_i, x_j), j in GT of Table 4."""
    settings = dict(recover=recover, correlation=measure, heads=heads, within=within, attention='correlation')
    model = cliptrase(cluster=None, **settings)
    tokens, trunk = model.window_tokens(with_mask(IMAGE, LABELS))
    of = projected(model.backbone, trunk.tokens[0])
    weights = written_correlation(of, measure, heads, recover)
    if within:
        seen = within_truth()
        weights = [[w * s for w, s in zip(*pair, strict=True)] for pair in zip(weights, seen, strict=True)]
    expected = finished(model.backbone, trunk.tokens[0], [gathered(weights, values) for values in of['v']], True)
    assert largest_difference(tokens[0], expected) < 1e-5
    # Every head gathers with the one W.
    weights = torch.tensor(weights)
    assert largest_difference(model.attention_weights(trunk)[0], weights.expand(2, -1, -1)) < 1e-5 * weights.max()


@torch.no_grad()
@pytest.mark.parametrize('recover', ['qkv', None])
def test_softmax_within_the_truth(recover):
    model = cliptrase(cluster=None, recover=recover, within='truth')
    tokens, trunk = model.window_tokens(with_mask(IMAGE, LABELS))
    of, seen = projected(model.backbone, trunk.tokens[0]), within_truth()

    def weights_of(a, b):
        return [
            softmax([dot(x, y) / math.sqrt(len(x)) if s else -math.inf for y, s in zip(b, row, strict=True)])
            for x, row in zip(a, seen, strict=True)
        ]

    heads = []
    for head, values in enumerate(of['v']):
        pairs = [(of[name][head],) * 2 for name in recover] if recover else [(of['q'][head], of['k'][head])]
        summed = np.sum([weights_of(a, b) for a, b in pairs], axis=0)
        heads.append(gathered(summed.tolist(), values))
    assert largest_difference(tokens[0], finished(model.backbone, trunk.tokens[0], heads, True)) < 1e-5


@torch.no_grad()
def test_each_token_gathers_its_own_value():
    """<x_i, x_i> of Table 4."""
    model = cliptrase(cluster=None, attention='self')
    tokens, trunk = model.window_tokens(IMAGE)
    own = projected(model.backbone, trunk.tokens[0])['v']
    assert largest_difference(tokens[0], finished(model.backbone, trunk.tokens[0], own, True)) < 1e-5


# ---- clusters


@torch.no_grad()
@pytest.mark.parametrize('heads', ['apart', 'joined'])
@pytest.mark.parametrize('measure', ['cosine', 'product'])
def test_clustered_correlation(measure, heads):
    model = cliptrase(correlation=measure, heads=heads, denoise=False, cluster_layer=12)
    _, trunk = model.window_tokens(IMAGE)
    weights = written_correlation(projected(model.backbone, trunk.tokens[0]), measure, heads)
    patches = torch.tensor(weights)[1:, 1:]
    assert largest_difference(model.patch_correlations(trunk)[0], patches) < 1e-5 * patches.max()


def written_clusters(weights, eps, min_samples, unit, drop):
    """Eq. 4 and 7, and eq. 5 with the clusters: labels and prototypes."""
    count = len(weights)
    kept = range(count)
    if drop:
        kept = [i for i in kept if math.fsum(weights[i][j] - weights[i][i] for j in range(count)) / count <= 0]
    points = [weights[i] for i in kept]
    if unit:
        points = [[w / math.sqrt(dot(row, row)) for w in row] for row in points]
    labels = [-1] * count
    for i, label in zip(kept, DBSCAN(eps=eps, min_samples=min_samples).fit(points).labels_.tolist(), strict=True):
        labels[i] = label
    distances = [math.dist(a, b) for a in points for b in points]
    assert min(abs(distance - eps) for distance in distances) > 1e-4, 'a pair on the edge of eps'
    prototypes = []
    for k in range(max(labels) + 1):
        members = [weights[i] for i in range(count) if labels[i] == k]
        prototypes.append([math.fsum(column) / len(members) for column in zip(*members, strict=True)])
    return labels, prototypes


def block_matrix():
    """Correlations of twelve patches of two kinds, and of two "global" ones that like all others better."""
    kinds = [0] * 5 + [1] * 5 + [2, 2]
    generator = torch.Generator().manual_seed(3)
    noise = 0.05 * torch.rand(12, 12, generator=generator)
    weights = torch.tensor([[1.0 if a == b else 0.1 for b in kinds] for a in kinds]) + noise
    weights[10:] = 3.0 + 2 * noise[10:]
    weights[10:, 10:] = 0.5
    # Two that differ from their kind by their length alone.
    weights[:2] *= 2
    return weights


@pytest.mark.parametrize('unit', [False, True])
@pytest.mark.parametrize('drop', [False, True])
def test_clusters_as_written(unit, drop):
    weights = block_matrix()
    eps = 0.3 if unit else 0.5
    model = cliptrase(eps=eps, min_samples=2, unit_rows=unit, denoise='patches' if drop else False)
    labels, prototypes = written_clusters(rows(weights), eps, 2, unit, drop)
    assert max(labels) == 2 - drop + (not unit)
    # The method asks for clusters and their maps only here.
    model.patch_correlations = lambda trunk: weights[None]
    trunk = model.backbone.trunk(IMAGE, 1)
    (maps,) = model.maps(torch.zeros(1, 13, 64), trunk)
    expected = cluster_maps(torch.tensor(labels), weights, GRID)
    assert torch.equal(maps, expected)
    for k, prototype in enumerate(prototypes):
        members = torch.tensor(labels) == k
        assert largest_difference(weights[members].mean(0), torch.tensor(prototype)) < 1e-6


def test_only_patches_that_prefer_others_are_left_out():
    assert local_patches(block_matrix()).tolist() == [True] * 10 + [False] * 2
    # Where all prefer others, nothing is left to cluster, and every patch is on its own.
    weights = torch.ones(12, 12) - torch.eye(12)
    labels = cliptrase(denoise='patches').clusters_of(weights, weights)
    assert labels.tolist() == [-1] * 12


@torch.no_grad()
def test_no_cosine_is_left_out():
    model = cliptrase(denoise='patches')
    _, trunk = model.window_tokens(IMAGE)
    assert local_patches(model.patch_correlations(trunk)[0]).all()


# ---- a helper's features


def test_clusters_of_a_helper():
    """Table 5: W is the cosines of a helper's patches, and regions of its grid vote on CLIP's patches."""
    settings = dict(helper=tiny_helper(), denoise=False, eps=0.2, window=64, stride=64)
    model, plain = cliptrase(**settings), cliptrase(cluster=None, window=64, stride=64)
    image = random_image(64, 96)
    tokens, trunk = model.window_tokens(image)
    assert torch.equal(tokens, plain.window_tokens(image)[0])
    features = model.seen(trunk, 'helper', 'tokens')
    assert features.shape[-2:] == (8, 12)
    patches = rows(features[0].flatten(1).T)
    expected = torch.tensor([[cosine(a, b) for b in patches] for a in patches])
    assert largest_difference(model.patch_correlations(trunk)[0], expected) < 1e-5
    labels, _ = written_clusters(rows(expected), 0.2, 3, False, False)
    assert max(labels) > 0
    (maps,) = model.maps(tokens, trunk)
    assert largest_difference(maps, cluster_maps(torch.tensor(labels), expected, (8, 12))) < 1e-5
    logits = model.match(tokens, model.text.vectors, trunk)
    alone = plain.match(tokens, model.text.vectors, trunk)
    assert largest_difference(logits, regional_mean(alone, patch_regions(maps, (4, 6))[None])) < 1e-5


def test_what_a_helper_cannot():
    for settings in (dict(), dict(denoise=False, cluster='features'), dict(denoise=False, cluster=None)):
        with pytest.raises(BenchError, match=r'no .CLS. to denoise by'):
            cliptrase(helper=tiny_helper(), **settings)


# ---- the ground truth


def test_mask_beside_the_image():
    results = dict(
        img=np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3),
        gt_seg_map=np.kron(np.array([[846, 3], [255, 0]], np.int32), np.ones((6, 8), np.int32)),
    )
    found = MaskBesideImage().transform(dict(results))['img']
    assert np.array_equal(found[..., :3], results['img'])
    assert np.array_equal(found[..., 3], results['gt_seg_map'][1::2, 1::2])


def test_colors_are_what_they_are_without_it():
    image = torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8)
    mask = torch.full((1, 6, 8), 60000)
    with_it, without = ImagePreprocessor()(dict(inputs=[torch.cat([image.int(), mask.int()]), image]))['inputs']
    assert torch.equal(with_it[:3], without) and (with_it[3] == 60000).all()


def test_other_methods_do_not_see_it():
    model = cliptrase(refine=dict(iterations=2, dilations=(2,)), window=32, stride=16)
    images = [with_mask(IMAGE, LABELS)[0], IMAGE[0]]
    with_it, without = model(images, mode='tensor')
    assert torch.equal(with_it, without)


def test_windows_cut_it_alike():
    """A window in the middle, with its own labels."""
    image = with_mask(IMAGE, LABELS)
    model = cliptrase(window=32, stride=16, within='truth', cluster=None)
    seen = []
    tokens = model.dense_tokens
    model.dense_tokens = lambda trunk: (seen.append(trunk.beside[:, 0, 8::16, 8::16]), tokens(trunk))[1]
    model(list(image), mode='tensor')
    (windows,) = seen
    assert windows.long().tolist() == [LABELS[i : i + 2, j : j + 2].tolist() for i in range(2) for j in range(3)]


def test_without_a_mask():
    with pytest.raises(BenchError, match='needs the mask beside the image'):
        cliptrase(within='truth').predict([IMAGE[0]])


@pytest.mark.parametrize('square', [False, True])
def test_run_within_the_truth(tmp_path, square):
    """Windows of resized images, and the authors' squares."""
    bench = TinyBench(tmp_path, classes=(1, 2, 15))
    load, mask = dict(type='LoadImage'), dict(type='LoadMask')
    resize = dict(type='Resize', scale=(2048, 48), keep_ratio=True)
    steps = [load, mask, dict(type='CentralSquare', size=48)] if square else [load, resize, mask]
    steps.append(dict(type='MaskBesideImage'))
    steps.append(dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')))
    settings = dict(within='truth', cluster=None, window=None if square else 32)
    leaf = Leaf(
        'cliptrase_voc21',
        load_config(
            'cliptrase_voc21',
            bench.folder / 'data',
            'none',
            cfg_options={
                'model.backbone.arch': str(bench.arch),
                'model.stride': 16,
                **{f'model.{name}': value for name, value in settings.items()},
                'test_dataloader.num_workers': 0,
                'test_dataloader.dataset.pipeline': steps,
            },
        ),
    )
    (result,) = run(passes_of([leaf]), Selection(), Store(tmp_path / 'store')).values()
    assert result.record['metrics']['mIoU'] >= 0 and len(result.cells) == 4


def test_wrong_settings_are_said():
    with pytest.raises(BenchError, match='of what recover names'):
        cliptrase(recover=None, attention='correlation')
    with pytest.raises(BenchError, match=r'denoise is .patch.; it must be True or False or "patches"'):
        cliptrase(denoise='patch')
