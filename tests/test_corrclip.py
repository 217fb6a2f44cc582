"""CorrCLIP equals its released code, from region maps to corrected labels."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from helper import drawn_regions, tiny_helper, with_text
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from naclip_bench.helpers import Look
from naclip_bench.inference.pipeline import pixel_logits
from naclip_bench.methods.corrclip.scope import LINKED, linked, merged, region_distance, resized, scope_attention

pytestmark = pytest.mark.numeric

STORED = golden('corrclip.npz')
WINDOWS = sorted({key.rsplit('/', 1)[0] for key in STORED if not key.startswith('predict/')})

#: Tolerances of what is stored, by the beginning of its name.
TOLERANCES = dict(dino_qk=1e-5, attn=1e-6, main=5e-5, spatial=5e-5, semantic=5e-5, tokens=2e-5)


def build(class_names='corrclip_voc21', **settings):
    settings = dict(dict(helper=tiny_helper(), regions=dict(type='DrawnRegions')), **settings)
    return MODELS.build(
        dict(type='CorrCLIP', class_names=class_names, backbone=dict(arch=TINY, pretrained=None), **settings)
    )


class Grid(Look):
    """Given features as q, and k of 0."""

    def __init__(self, features):
        self.known = features

    def features(self, kind):
        return self.known if kind == 'q' else torch.zeros_like(self.known)


def grouped(ids, channels, groups):
    """(1, C, h, w) unit features: regions of the same id % groups look alike."""
    generator = torch.Generator().manual_seed(8000 + 13 * channels + groups)
    centers = torch.randn((groups, channels), generator=generator)
    features = centers[ids.flatten() % groups] + 0.6 * torch.randn((ids.numel(), channels), generator=generator)
    return F.normalize(features, dim=-1).T.unflatten(1, ids.shape)[None]


@torch.no_grad()
@pytest.mark.parametrize('case', WINDOWS)
def test_every_step_of_a_window_is_the_released_one(case):
    kind, size, name = case.split('/')
    (height, width), parts = map(int, size.split('x')), name.split('-')
    ids = drawn_regions(height, width, int(parts[0].removeprefix('regions')), zero=0 if 'nozero' in parts else 0.15)
    model = build()
    trunk = model.backbone.trunks(random_image(height, width), [model.need])[0]
    trunk.of_images[model.regions, 'regions'] = ids[None]
    if kind == 'grouped':
        coarse = resized(ids[None], (height // 8, width // 8))[0]
        trunk.of_images[model.helper] = Grid(grouped(coarse, 48, int(parts[1].removeprefix('groups'))))
    features = model.similar(trunk)
    found = dict(zip(('main', 'spatial', 'semantic'), model.branches(trunk), strict=True))
    found.update(dino_qk=features, attn=model.scopes(trunk)[1], tokens=model.dense_tokens(trunk)[:, 1:])
    stored = {key.rsplit('/', 1)[1]: value for key, value in STORED.items() if key.rsplit('/', 1)[0] == case}
    for key, expected in stored.items():
        for start, tolerance in TOLERANCES.items():
            if key.startswith(start):
                every = int(key.rstrip(']').rsplit(':', 1)[1])
                assert largest_difference(found[start][0, ::every], expected) < tolerance, key
    if 'region_distance' in stored:
        given = resized(ids[None], model.token_grid(trunk))[0].flatten()
        means = torch.stack([features[0, given == of].mean(0) for of in given.unique()[1:]])
        distance = region_distance(means)
        assert largest_difference(distance, stored['region_distance']) < 5e-6
        assert (distance - LINKED).abs().min() > 1e-5
        assert torch.equal(linked(distance), stored['region_cluster'].long())


@pytest.mark.parametrize(
    ('case', 'image', 'size', 'regions', 'settings'),
    [
        ('voc21/x1-at250x333/regions20', (336, 448), (250, 333), 20, dict(window=336, prob_thd=0.2)),
        ('voc21-spread/x1-at250x333/regions20', (336, 448), (250, 333), 20, dict(window=336, prob_thd=0.2)),
        ('city/x2-at375x558/crop224-regions40', (336, 500), (375, 558), 40, dict(class_names='cityscapes')),
    ],
)
def test_whole_prediction(case, image, size, regions, settings):
    stored = {key.rsplit('/', 1)[1]: value for key, value in STORED.items() if f'/{case}/' in key}
    model = build(**settings)
    model.regions.ids = drawn_regions(*size, regions)
    if 'spread' not in case and 'city' not in case:
        assert largest_difference(model.text.vectors, stored['query_features']) < 1e-6
    with_text(model, stored['query_features'])
    image = random_image(*image)[0]
    (of_image,) = pixel_logits([model], [image], [size])[0]
    logits = of_image.full()[model.vocabulary.occurrences]
    assert largest_difference(logits[:, ::25, ::25], stored['seg_logits[:,::25,::25]']) < 2e-5
    for correct, name in ((True, 'pred'), (False, 'pred_before_correction')):
        model.correct = correct
        labels = model.decide(of_image)
        assert (labels == stored[name]).float().mean() >= 0.9999


def test_chains_hold_regions_together():
    places = torch.tensor([0.0, 5.0, 0.15, 0.3, 5.1, 9.0])
    assert linked((places[:, None] - places).abs()).tolist() == [0, 1, 0, 0, 1, 2]
    # A longer chain than one step reaches, named from its far end.
    places = torch.arange(12).flip(0) * 0.19
    assert linked((places[:, None] - places).abs()).tolist() == [0] * 12


def test_one_region_and_none_are_left_as_they_are():
    features = F.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    for ids in (torch.zeros(3, 4, dtype=torch.long), torch.arange(12).view(3, 4) // 6):
        assert torch.equal(merged(ids, features), ids)


def test_a_uniform_window_without_regions_sees_itself():
    features = F.normalize(torch.ones(1, 6, 4), dim=-1)
    weights = scope_attention(features, torch.zeros(1, 2, 3, dtype=torch.long), 4.0)
    assert weights.isfinite().all()
    assert torch.allclose(weights.sum(-1), torch.ones(1, 6))


def test_ids_up_to_65535_survive_a_resize():
    ids = torch.tensor([[[65535, 65534], [1, 0]]])
    assert torch.equal(resized(ids, (4, 4)), ids.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_maps_are_asked_for_once_an_image():
    """For all members and windows, at the original size."""
    common = dict(type='CorrCLIP', helper=tiny_helper(), regions=dict(type='DrawnRegions'), class_names='voc20')
    members = {'one': common, 'other': dict(common, beta=1.0), 'wide': dict(common, window=None)}
    model = MODELS.build(dict(type='SideBySide', members=members, backbone=dict(arch=TINY, pretrained=None)))
    model.predict([random_image(64, 96)[0]], [SegDataSample(metainfo=dict(ori_shape=(50, 70)))])
    assert model.members.one.regions.asked == [(50, 70)]
