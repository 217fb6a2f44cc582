"""Every method: equal to its released code where that is known, and at home in every benchmark."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from helper import CASS_HELPER, TINY_PROMPTED_SAM, TINY_SAM, tiny_helper, with_tiny_helpers
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from naclip_bench.configuration import config_names, load_config, method_bases
from naclip_bench.errors import BenchError
from naclip_bench.inference.pamr import PAMR

STORED = golden('others.npz')


def build(kind, class_names='voc20', **settings):
    settings = dict(type=kind, class_names=class_names, backbone=dict(arch=TINY, pretrained=None), **settings)
    return MODELS.build(settings)


#: Type and settings of each stored output.
CASES = {
    'tiny/sclip/csa': ('SCLIP', dict()),
    'others/clearclip/ClearCLIP/ignore_residual=True': ('ClearCLIP', dict()),
    'others/clearclip/ClearCLIP/ignore_residual=False': ('ClearCLIP', dict(residual=True)),
    'others/clearclip/vanilla/ignore_residual=True': ('ClearCLIP', dict(attention='vanilla')),
    'others/clearclip/vanilla/ignore_residual=False': ('ClearCLIP', dict(attention='vanilla', residual=True)),
    'others/clearclip/MaskCLIP/ignore_residual=True': ('ClearCLIP', dict(attention='identity')),
    'others/clearclip/MaskCLIP/ignore_residual=False': ('ClearCLIP', dict(attention='identity', residual=True)),
    'others/clearclip/SCLIP/ignore_residual=True': ('ClearCLIP', dict(attention='csa')),
    'others/clearclip/SCLIP/ignore_residual=False': ('ClearCLIP', dict(attention='csa', residual=True)),
    'others/gem/depth7-iter1-tempNone': ('GEM', dict()),
    'others/gem/depth7-iter2-tempNone': ('GEM', dict(iterations=2)),
    'others/gem/depth4-iter1-tempNone': ('GEM', dict(depth=4)),
    'others/gem/depth7-iter1-temp10.0': ('GEM', dict(temperature=10.0)),
    'others/clipsurgery': ('CLIPSurgery', dict()),
}


def test_no_stored_output_is_left_out():
    stored = {key.rsplit('/', 1)[0] for key in STORED if not key.startswith('sclip/')}
    assert stored == set(CASES)


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize('case', CASES)
def test_tokens_are_the_released_ones(case):
    kind, settings = CASES[case]
    model = build(kind, **settings)
    for key, expected in STORED.items():
        if key.rsplit('/', 1)[0] == case:
            height, width = map(int, key.rsplit('/', 1)[1].split('x'))
            tokens, _ = model.window_tokens(random_image(height, width))
            # ClearCLIP's code gives out patches alone.
            assert largest_difference(tokens[:, -expected.shape[1] :], expected) < 1e-5


@pytest.mark.numeric
@torch.no_grad()
def test_methods_that_are_the_same_are_the_same():
    """The same block told by two methods' files."""
    image = random_image(112, 176)
    pairs = [
        (('PlainCLIP', dict()), ('NACLIP', dict(arch='vanilla', attention='vanilla'))),
        (('PlainCLIP', dict(arch='reduced')), ('ClearCLIP', dict(attention='vanilla'))),
        (('MaskCLIP', dict()), ('ClearCLIP', dict(attention='identity'))),
        (('MaskCLIP', dict(form='released')), ('SCLIP', dict(attention='local', local_side=1))),
        (('SCLIP', dict(attention='sharpen', tau=8.0)), ('PlainCLIP', dict())),
        (('SCLIP', dict()), ('NACLIP', dict(arch='vanilla', attention='csa'))),
        (('SCLIP', dict()), ('CLIPtrase', dict(recover='qk', cluster=None))),
        (('PlainCLIP', dict()), ('CLIPtrase', dict(recover=None, cluster=None))),
    ]
    for (kind, settings), (other_kind, other_settings) in pairs:
        a, _ = build(kind, **settings).window_tokens(image)
        b, _ = build(other_kind, **other_settings).window_tokens(image)
        assert largest_difference(a[:, 1:], b[:, 1:]) < 1e-5, (kind, settings)


@pytest.mark.numeric
def test_sclip_whole_prediction():
    stored = {key.removeprefix('sclip/city/slide/'): value for key, value in STORED.items() if key.startswith('sclip/')}
    model = build('SCLIP', 'cityscapes')
    images, samples = [random_image(336, 448, 1)[0]], [SegDataSample(metainfo=dict(ori_shape=(250, 333)))]
    logits = model(images, samples, mode='tensor')[0]
    assert largest_difference(logits[:, ::25, ::25], stored['seg_logits_pre_softmax[::25,::25]'][0]) < 1e-5
    labels = model(images, samples, mode='predict')[0].pred_sem_seg.data
    assert (labels == stored['pred']).float().mean() >= 0.9999


#: Every method, and settings that change what it computes.
VARIANTS = [
    ('PlainCLIP', dict()),
    ('PlainCLIP', dict(arch='reduced')),
    ('MaskCLIP', dict()),
    ('MaskCLIP', dict(form='released', smoothing_thd=0.0781, denoising_thd=0.0366)),
    ('SCLIP', dict()),
    ('SCLIP', dict(attention='identity')),
    ('SCLIP', dict(attention='q')),
    ('SCLIP', dict(attention='k')),
    ('SCLIP', dict(attention='random', projections=4)),
    ('SCLIP', dict(attention='sharpen', tau=0)),
    ('SCLIP', dict(attention='local', local_side=5)),
    ('SCLIP', dict(attention='early', layer=3)),
    ('ClearCLIP', dict()),
    ('GEM', dict()),
    ('GEM', dict(depth=4)),
    ('CLIPSurgery', dict()),
    ('CLIPtrase', dict(eps=0.3)),
    ('CLIPtrase', dict(recover=None, denoise=False, correlation='product', eps=7)),
    ('CLIPtrase', dict(cluster='features', cluster_layer=12, eps=0.3)),
    ('CLIPtrase', dict(cluster=None, weigh_by_cls=True)),
    ('CLIPtrase', dict(layer=9, eps=0.3)),
    ('CLIPtrase', dict(attention='correlation', cluster_layer=12, unit_rows=True, denoise='patches', eps=0.05)),
    ('CLIPtrase', dict(attention='self', heads='joined', eps=0.3)),
    ('NACLIP', dict()),
    ('CLIPtrase', dict(helper=tiny_helper(), denoise=False, eps=0.2)),
    ('NACLIP', dict(attention='gaussian')),
    ('NACLIP', dict(attention='qk_gaussian')),
    ('NACLIP', dict(attention='vv_gaussian')),
    ('GCLIP', dict()),
    ('GCLIP', dict(fuse_following=3, sigma=4)),
    ('GCLIP', dict(fuse_following=None)),
    ('GCLIP', dict(suppress_from=None)),
    ('SCCLIP', dict()),
    ('SCCLIP', dict(repair=False)),
    ('SCCLIP', dict(aggregation=False)),
    ('SCCLIP', dict(multi_level=False)),
    ('SFP', dict()),
    ('SFP', dict(outliers='L2')),
    ('SFP', dict(outliers='LOF')),
    ('ResCLIP', dict()),
    ('ResCLIP', dict(rcs=None, sfr=(2.2, 0.7), temp_thd=0.5)),
    ('ResCLIP', dict(sfr=None)),
    ('ProxyCLIP', dict(helper=tiny_helper())),
    ('ProxyCLIP', dict(helper=tiny_helper(16), beta=1.0, gamma=5.0)),
    ('LPOSS', dict(helper=tiny_helper(16), neighbors=20)),
    ('Trident', dict(helper=tiny_helper(16), sam=TINY_SAM)),
    ('Trident', dict(helper=tiny_helper(), sam=TINY_SAM, cos_factor=0.5, negative=False)),
    (
        'Trident',
        dict(helper=tiny_helper(16), sam=dict(TINY_SAM, halves=True), refiner=TINY_PROMPTED_SAM, confidence=0.05),
    ),
    ('CorrCLIP', dict(helper=tiny_helper(), regions=dict(type='DrawnRegions'))),
    ('CASS', dict(helper=CASS_HELPER)),
    ('CASS', dict(helper=CASS_HELPER, stretch=False, picture='window', word_share=0.2)),
    ('LPOSS', dict(helper=tiny_helper(8), neighbors=20, pixels=True, radius=2, tau=0.1)),
]


@pytest.fixture
def unamplified(monkeypatch):
    """Let cosines that a method would multiply by 100 stay as they are, so that their rounding does.

    Likewise images that SAM and CASS round to bytes.
    """
    monkeypatch.setattr('naclip_bench.methods.cass.method.shown', lambda images: images * 0.25 + 0.45)
    monkeypatch.setattr('naclip_bench.helpers.SAM.of_image', lambda self, image, *_: (self.affinity(image),))
    monkeypatch.setattr(
        'naclip_bench.helpers.sam.as_bytes_resized',
        lambda image, size: F.interpolate(image[None], size=size, mode='bilinear')[0],
    )
    monkeypatch.setattr('naclip_bench.methods.maskclip.REFINE_SCALE', 1.0)
    monkeypatch.setattr('naclip_bench.methods.maskclip.DENOISED', -1.0)
    monkeypatch.setattr('naclip_bench.methods.cliptrase.method.CLIP_SCALE', 1.0)


#: Images of different, non-square sizes, that are cut into windows of one size.
IMAGES = [random_image(100, 75)[0], random_image(64, 120)[0], random_image(50, 64)[0]]


def logits_of_windows(images, kind, window_batch=8, **settings):
    model = build(kind, window=64, stride=32, window_batch=window_batch, **settings)
    samples = samples_of([tuple(image.shape[-2:]) for image in images])
    return model(images, samples, mode='tensor')


@pytest.mark.numeric
@pytest.mark.usefixtures('unamplified')
@pytest.mark.parametrize(('kind', 'settings'), VARIANTS)
def test_windows_do_not_see_each_other(kind, settings):
    """Batched and one by one, on images of different, non-square sizes; and the trunk is left as it was."""
    together = logits_of_windows(IMAGES, kind, **settings)
    for image, logits in zip(IMAGES, together, strict=True):
        assert largest_difference(logits_of_windows([image], kind, window_batch=1, **settings)[0], logits) < 1e-5
    alone = build(kind, **settings)
    trunk = alone.backbone.trunk(random_image(64, 96), alone.shared_depth, alone.inner_outputs, alone.inner_attention)
    before = [x.clone() for x in (trunk.tokens, *trunk.outputs.values())]
    alone.match(alone.dense_tokens(trunk), alone.text[0], trunk)
    assert all(map(torch.equal, (trunk.tokens, *trunk.outputs.values()), before))


@pytest.mark.numeric
@pytest.mark.usefixtures('unamplified')
@pytest.mark.parametrize(('kind', 'settings'), VARIANTS)
def test_no_case_is_on_a_rounding_edge(kind, settings):
    """No threshold, order or cluster of the test above turns over by more than another processor's rounding."""
    nudge = torch.Generator().manual_seed(0)
    nudged = [image * (1 + 1e-6 * torch.randn(image.shape, generator=nudge)) for image in IMAGES]
    for logits, moved in zip(*(logits_of_windows(x, kind, **settings) for x in (IMAGES, nudged)), strict=True):
        assert largest_difference(logits, moved) < 1e-5


def test_every_type_has_variants_and_configs():
    types = {load_config(f'{name}_materials24').model.type for name in method_bases()}
    assert types == {kind for kind, _ in VARIANTS}


@pytest.mark.numeric
def test_shared_trunk_is_separate_runs_bit_for_bit(monkeypatch):
    """All variants in one model, some with other vocabularies, windows and refinement, against each on its own."""
    members = {f'{index}': dict(settings, type=kind, window=64) for index, (kind, settings) in enumerate(VARIANTS)}
    members['whole'] = dict(type='NACLIP', window=None, refine=dict(iterations=1, dilations=(2, 4)))
    # Tokens shared with other class names, logits shared with other thresholds.
    members |= {name: dict(type='NACLIP', window=64) for name in ('names', 'scale', 'refined')}
    members['scale'].update(logit_scale=10, prob_thd=0.3)
    for index, member in enumerate(members.values()):
        member.update(stride=32, class_names=('voc21', 'cityscapes')[index % 2])
        if index % 5 == 0:
            member['refine'] = dict(iterations=2, dilations=((2, 4), (1, 3))[index % 2])
    images = [random_image(100, 75)[0], random_image(64, 120)[0]]
    sizes = [(50, 70), (90, 64)]
    clip = dict(arch=TINY, pretrained=None)
    runs = count_blocks(shared := MODELS.build(dict(type='SideBySide', members=members, backbone=clip)))
    neighborhood, sought = PAMR.neighborhood, []

    def counted(refine, image, size):
        sought.append((refine.dilations, size))
        return neighborhood(refine, image, size)

    with monkeypatch.context() as patch:
        patch.setattr(PAMR, 'neighborhood', counted)
        together = shared.predict(images, samples_of(sizes))
    # Once an image, whatever the windows and however many refine; ResCLIP's first pass has its own, of its windows.
    of_images = [(dilations, size) for dilations, size in sought if size in sizes]
    # Trident, which is refined by (1, 3) here, sees other images: rounded up to whole patches.
    assert sorted(of_images) == sorted((dilations, size) for dilations in ((1, 3), (1, 3), (2, 4)) for size in sizes)
    # Windows of one shape with four kinds of positions, two whole images, images of whole patches, and CASS's pictures.
    assert runs[0] == 4 + 2 + 1 + 2
    for name, member in members.items():
        alone = MODELS.build(dict(member, backbone=clip)).predict(images, samples_of(sizes))
        for ours, expected in zip(together, alone, strict=True):
            assert torch.equal(ours.predictions[name].long(), expected.pred_sem_seg.data[0]), member


def samples_of(sizes):
    return [SegDataSample(metainfo=dict(ori_shape=size)) for size in sizes]


def count_blocks(model):
    """How often the first block of the shared backbone runs, counted from now on."""
    runs = [0]
    block = next(iter(model.members.values())).backbone.blocks[0]
    original = block.run

    def counted(*arguments, **named):
        runs[0] += 1
        return original(*arguments, **named)

    block.run = counted
    return runs


@pytest.mark.numeric
@pytest.mark.parametrize(('kind', 'settings'), VARIANTS)
def test_attention_weights_are_the_attention(kind, settings):
    """(N, heads, T, T), finite; rows of softmaxes sum to their number."""
    model = build(kind, **settings)
    trunk = model.backbone.trunks(random_image(64, 96), [model.need])[0]
    weights = model.attention_weights(trunk)
    assert weights.shape == (1, 2, 25, 25)
    assert weights.isfinite().all()
    if settings.get('attention') == 'correlation':
        return
    # SC-CLIP leaves [CLS] out.
    sums = weights[..., 1:, :].sum(-1)
    assert torch.allclose(sums, sums.round().clamp(min=1), atol=1e-4)


@pytest.mark.parametrize('name', config_names())
def test_every_config_segments_an_image(name):
    config = load_config(name)
    config.model.backbone = dict(arch=TINY, pretrained=None)
    config.model.templates = 'photo'
    with_tiny_helpers(config.model)
    if config.model.get('refine'):
        config.model.refine.iterations = 1
    if config.model.get('pixels'):
        config.model.radius, config.model.iterations = 1, 1
    model = MODELS.build(config.model)
    sample = SegDataSample(metainfo=dict(ori_shape=(60, 80)))
    # Smaller than a window: what windows do is seen above, and here are hundreds of configs.
    labels = model.predict([random_image(112, 150)[0]], [sample])[0].pred_sem_seg.data
    assert labels.shape == (1, 60, 80)
    assert 0 <= labels.min() <= labels.max() < len(model.vocabulary)


@pytest.mark.parametrize(
    ('kind', 'settings', 'message'),
    [
        ('PlainCLIP', dict(arch='vanila'), 'did you mean "vanilla"'),
        ('MaskCLIP', dict(form='relased'), 'did you mean "released"'),
        ('SCLIP', dict(attention='csaa'), 'did you mean "csa"'),
        (
            'SCLIP',
            dict(attention='local', local_side=4),
            'local_side is 4; .* and odd',
        ),
        ('SCLIP', dict(attention='early', layer=12), 'layer is 12'),
        ('ClearCLIP', dict(attention='qqq'), 'did you mean "qq"'),
        ('GEM', dict(depth=1), 'depth is 1; with this backbone it must be from 2 to 13'),
    ],
)
def test_wrong_settings_are_said(kind, settings, message):
    with pytest.raises(BenchError, match=message):
        build(kind, **settings)
