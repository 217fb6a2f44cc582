"""CASS, step by step against a literal transcription of what is known of its released code."""

import itertools

import numpy as np
import pytest
import torch
from golden import TINY, largest_difference, random_image
from helper import CASS_HELPER, tiny_helper
from mmseg.registry import MODELS
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch.nn import functional as F

from naclip_bench.errors import BenchError
from naclip_bench.inference.pipeline import pixel_logits
from naclip_bench.methods.cass.method import MEAN, as_bytes, fused_scores, shown
from naclip_bench.methods.cass.spectral import in_short, paired, spectra_apart, spectrum
from naclip_bench.methods.cass.words import moved_words, word_groups

pytestmark = pytest.mark.numeric


def build(class_names='voc21', **settings):
    settings = dict(dict(helper=CASS_HELPER, class_names=class_names), **settings)
    return MODELS.build(dict(type='CASS', backbone=dict(arch=TINY, pretrained=None), **settings))


def keys_of(heads=3, tokens=30, channels=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, heads, tokens, channels, generator=generator) * (1 + torch.arange(heads).view(-1, 1, 1))


def literal_spectrum(keys):
    """Of one head (n, d): the top 20 eigenvalues of K K^T s, at L2 and then at L1 length 1."""
    values = np.linalg.eigvalsh(keys @ keys.T * keys.shape[1] ** -0.5)[::-1][:20]
    values = values / np.sqrt((values**2).sum())
    return np.sort(values / np.abs(values).sum())


def literal_scores(clip, helper, stretch):
    """Scores (heads, n, n) of one window's keys (heads, n, d), in numpy's fp64."""
    clip, helper = clip.double().numpy(), helper.double().numpy()
    helper = (helper - helper.min()) / (helper.max() - helper.min()) * (clip.max() - clip.min()) + clip.min()
    heads, scores = len(clip), np.zeros((len(clip), clip.shape[1], clip.shape[1]))
    cost = np.zeros((heads, heads))
    for i, j in itertools.product(range(heads), repeat=2):
        cost[i, j] = 1 - np.abs(literal_spectrum(helper[i]) - literal_spectrum(clip[j])).sum()
    # What decides between pairings that cost the same is not the code's.
    near = cost + [[1e-6 * (i - j) ** 2 for j in range(heads)] for i in range(heads)]
    cheapest = min(itertools.permutations(range(heads)), key=lambda of: sum(near[i, j] for i, j in enumerate(of)))
    for i, j in enumerate(cheapest):
        own = clip[i] @ clip[i].T * clip.shape[2] ** -0.5
        left, values, right = np.linalg.svd(helper[j] @ helper[j].T * clip.shape[2] ** -0.5)
        left, values, right = left[:, :10], values[:10], right[:10]
        if stretch:
            low, high = 0.5 * values.min(), 1.5 * values.max()
            values = (values - values.min()) / (values.max() - values.min()) * (high - low) + low
        graph = left @ np.diag(values) @ right
        np.fill_diagonal(graph, 0)
        graph = (graph - graph.min()) / (graph.max() - graph.min()) * (own.max() - own.min()) + own.min()
        weight = 1 - cost[i, j]
        scores[i] = (10 * weight * graph + own) / (10 * weight + 1)
    return torch.from_numpy(scores)


@pytest.mark.parametrize('stretch', [True, False])
@pytest.mark.parametrize(('heads', 'tokens', 'channels'), [(3, 30, 24), (4, 15, 24), (2, 40, 16)])
def test_scores_are_the_transcription(heads, tokens, channels, stretch):
    """More channels than tokens, and fewer; more windows than one, which do not see each other."""
    windows = [(keys_of(heads, tokens, channels, 2 * n), keys_of(heads, tokens, channels, 2 * n + 1)) for n in range(3)]
    clip, helper = (torch.cat(part) for part in zip(*windows, strict=True))
    expected = torch.stack([literal_scores(a[0], b[0], stretch) for a, b in windows])
    assert largest_difference(fused_scores(clip, helper, stretch), expected) < 1e-4 * expected.abs().max()


def test_pairs_complement_each_other_and_are_read_the_other_way_round():
    apart = torch.tensor([[[0.1, 0.9, 0.2], [0.3, 0.1, 0.8], [0.7, 0.2, 0.1]]])
    partners, weights = paired(apart)
    assert partners.tolist() == [[1, 2, 0]]
    assert torch.allclose(weights, torch.tensor([[0.9, 0.8, 0.7]]))


def test_pairings_that_cost_the_same_keep_heads_of_near_numbers():
    helper, clip = torch.tensor([3.0, 1.0, 2.0, 5.0]), torch.tensor([0.1, 0.3, 0.2, 0.4])
    noise = 1e-9 * torch.randn(20, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    partners, _ = paired((helper[:, None] - clip).double() + noise)
    assert partners.tolist() == [[0, 1, 2, 3]] * 20


def test_spectra_of_fewer_channels_than_are_compared():
    keys = keys_of(2, 30, 16)
    found = spectrum(keys)
    assert found.shape == (1, 2, 20)
    assert largest_difference(found[0, 1], torch.from_numpy(literal_spectrum(keys[0, 1].double().numpy()))) < 1e-12
    assert torch.equal(spectra_apart(keys, keys).diagonal(dim1=1, dim2=2), torch.zeros(1, 2, dtype=torch.float64))


def test_the_short_graph_is_the_best_of_its_rank():
    keys = keys_of(2, 40, 24)
    graph = keys.double() @ keys.double().transpose(2, 3)
    left, values, right = torch.linalg.svd(graph)
    best = left[..., :10] * values[..., None, :10] @ right[..., :10, :]
    assert largest_difference(in_short(keys, False), best) < 1e-5 * float(values.max())
    # What the code does comes near where a spectrum falls fast, and is another with each seed.
    torch.manual_seed(0)
    first, second = (torch.svd_lowrank(graph, q=10) for _ in range(2))
    first, second = (u * s[..., None, :] @ v.transpose(2, 3) for u, s, v in (first, second))
    assert 0 < largest_difference(first, second) < float(values[..., 0].max()) * 0.1
    assert torch.equal(in_short(keys, True), in_short(keys.clone(), True))


def test_uniform_keys_give_finite_scores():
    for stretch in (True, False):
        assert fused_scores(torch.ones(1, 2, 12, 8), torch.ones(1, 2, 12, 8), stretch).isfinite().all()


def test_what_the_helper_is_shown():
    image = 3 * random_image(48, 80)
    pixels = np.empty((48, 80, 3))
    for channel, (mean, deviation) in enumerate(zip(MEAN, (0.229, 0.224, 0.255), strict=True)):
        pixels[..., channel] = (image[0, channel].numpy() * np.float32(deviation) + np.float32(mean)) * np.float32(255)
    assert pixels.min() < 0
    assert pixels.max() > 256
    wrapped = np.array([int(x) % 256 for x in pixels.flatten()], np.uint8).reshape(pixels.shape)
    expected = np.asarray(Image.fromarray(wrapped).resize((48, 48)))
    found = (shown(image)[0] * 255).round().permute(1, 2, 0).numpy()
    # A value on the edge of two whole numbers may be either.
    assert (found == expected).mean() > 0.995
    assert as_bytes(torch.tensor([-1.5, 255.9, 256.0, 0.0])).tolist() == [255, 255, 0, 0]
    square = random_image(32, 32)
    assert shown(square).shape == (1, 3, 32, 32)


def literal_words(vectors, height, picture, patches, share):
    """Words (Q, D) of one window."""
    distance = 1 - vectors.double().numpy() @ vectors.double().numpy().T
    np.fill_diagonal(distance, 0)
    groups = fcluster(linkage(squareform(distance, checks=False), method='ward'), t=height, criterion='distance')
    words = vectors.clone()
    for group in set(groups):
        members = [index for index in range(len(vectors)) if groups[index] == group]
        word = max(members, key=lambda index: float(vectors[index] @ picture))
        nearest = sorted(range(len(patches)), key=lambda index: -float(patches[index] @ vectors[word]))[:2]
        moved = (1 - share) * vectors[word] + share * (patches[nearest[0]] + patches[nearest[1]]) / 2
        words[word] = moved / moved.norm()
    return words, groups


@pytest.mark.parametrize(('height', 'groups'), [(0.0, 9), (0.5, None), (9.0, 1)])
def test_words_are_the_transcription(height, groups):
    generator = torch.Generator().manual_seed(3)
    vectors, patches, pictures = (F.normalize(torch.randn(*n, 12, generator=generator), dim=-1) for n in SHAPES)
    expected = [literal_words(vectors, height, a, b, 0.3) for a, b in zip(pictures, patches, strict=True)]
    of_words = word_groups(vectors, height)
    assert len(of_words) == len(set(expected[0][1])) == (groups or len(of_words))
    assert sorted(torch.cat(of_words).tolist()) == list(range(9))
    found = moved_words(vectors, of_words, pictures, patches, 0.3)
    assert largest_difference(found, torch.stack([words for words, _ in expected])) < 1e-6


SHAPES = ((9,), (2, 7), (2,))


def test_one_word_is_a_group():
    assert [group.tolist() for group in word_groups(torch.ones(1, 4) / 2, 0.1)] == [[0]]


@torch.no_grad()
@pytest.mark.parametrize('picture', ['image', 'window'])
def test_every_step_together(picture):
    """Windows of an image that is no square, from keys to logits."""
    model = build(window=64, stride=32, picture=picture, word_share=0.3)
    image = random_image(64, 96)[0]
    (found,) = pixel_logits([model], [image], [(64, 96)])[0]
    block, vectors, expected = model.backbone.blocks[-1], model.text.vectors, []
    for left in (0, 32):
        window = image[None, :, :, left : left + 64]
        trunk = model.backbone.trunk(window, model.shared_depth)
        _, key, value = (part[:, :, 1:] for part in block.qkv(trunk.tokens))
        keys = model.helper.features(shown(window), 'k')
        keys = F.interpolate(keys, size=(4, 4), mode='bilinear', align_corners=False)
        keys = torch.stack([head.flatten(1).T for head in keys[0].chunk(2)])
        scores = literal_scores(key[0], keys, True).float()
        for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(itertools.product(range(4), repeat=2)), repeat=2):
            scores[:, i, j] += np.exp(-((a - c) ** 2 + (b - d) ** 2) / (2 * 5.0**2))
        patches = F.normalize(model.backbone.head(block.output(scores[None].softmax(-1) @ value))[0], dim=-1)
        seen = image[None] if picture == 'image' else window
        seen = F.normalize(model.backbone.encode_image(seen)[0], dim=0)
        words, _ = literal_words(vectors, 0.1, seen, patches, 0.3)
        expected.append(0.75 * patches @ words.T + 0.25 * (words @ seen))
    logits = torch.stack(expected).transpose(1, 2).unflatten(2, (4, 4))
    upsampled = F.interpolate(logits, size=(64, 64), mode='bilinear', align_corners=False)
    total, hits = torch.zeros(len(vectors), 64, 96), torch.zeros(96)
    for left, of_window in zip((0, 32), upsampled, strict=True):
        total[:, :, left : left + 64] += of_window
        hits[left : left + 64] += 1
    assert largest_difference(found.full(), total / hits) < 2e-5


def test_a_helper_of_other_heads_is_refused():
    with pytest.raises(BenchError, match=r'model\.helper has 3 heads with keys, the backbone 2; CASS pairs them'):
        build(helper=tiny_helper())
