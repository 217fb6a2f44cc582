"""NACLIP equals its released code, and what it promises besides."""

import math
from typing import get_args

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from literal import dot, finished, gathered, projected, softmax
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny import TinyBench

from naclip_bench.errors import BenchError
from naclip_bench.methods.naclip import NACLIP, gaussian_neighborhood
from naclip_bench.settings import parameters_of
from naclip_bench.speed.against_plain import PeakMemory

pytestmark = pytest.mark.numeric

CPU = torch.device('cpu')
ARCHITECTURES, ATTENTIONS = (get_args(parameters_of(NACLIP)[0][name][0]) for name in ('arch', 'attention'))
TOKENS = sorted(key for key in golden('naclip.npz') if key.startswith('tiny/naclip/'))


def naclip(class_names='voc20', **settings):
    return NACLIP(class_names=class_names, backbone=dict(arch=TINY, pretrained=None), **settings)


@torch.no_grad()
@pytest.mark.parametrize('key', TOKENS)
def test_tokens(key):
    _, _, name, size = key.split('/')
    arch, attention, _ = name.split('-')
    height, width = map(int, size.split('x'))
    tokens, trunk = naclip(arch=arch, attention=attention).window_tokens(random_image(height, width))
    assert trunk.grid == (height // 16, width // 16)
    assert largest_difference(tokens, golden('naclip.npz')[key]) < 1e-5


def written_weights(of, attention, grid, sigma):
    """Attention of each head as the paper writes it; [CLS] is seen and sees with nothing added."""
    places = [None, *((i, j) for i in range(grid[0]) for j in range(grid[1]))]

    def omega(a, b):  # eq. 10 and 11
        if a is None or b is None:
            return 0.0
        return math.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * sigma**2))

    def sim(a, b):  # eq. 6
        return dot(a, b) / math.sqrt(len(a))

    if attention == 'gaussian':  # eq. 12
        return [[softmax([omega(a, b) for b in places]) for a in places] for _ in of['q']]
    seeking, sought = attention.removesuffix('_gaussian')  # eq. 13
    return [
        [
            softmax([sim(x, y) + omega(a, b) for y, b in zip(k, places, strict=True)])
            for x, a in zip(q, places, strict=True)
        ]
        for q, k in zip(of[seeking], of[sought], strict=True)
    ]


@torch.no_grad()
@pytest.mark.parametrize('arch', ARCHITECTURES)
@pytest.mark.parametrize('attention', ['gaussian', 'qk_gaussian', 'qq_gaussian', 'vv_gaussian'])
def test_as_the_paper_writes_it(arch, attention):
    model = naclip(arch=arch, attention=attention, sigma=1.5)
    tokens, trunk = model.window_tokens(random_image(48, 64))
    of = projected(model.backbone, trunk.tokens[0])
    weights = written_weights(of, attention, (3, 4), 1.5)
    expected = finished(model.backbone, trunk.tokens[0], list(map(gathered, weights, of['v'])), arch == 'vanilla')
    assert largest_difference(tokens[0], expected) < 1e-5
    assert largest_difference(model.attention_weights(trunk)[0], torch.tensor(weights)) < 1e-5


def test_whole_images_on_voc_without_refinement(tmp_path, capfd):
    """What the authors' code does where its refinement is off."""
    bench = TinyBench(tmp_path)
    options = {'model.window': None, 'model.refine': None}
    assert bench.run(capfd, config='official/naclip_voc21', options=options).code == 0
    settings = bench.result()['settings']
    assert (settings['window'], settings['refine']) == (None, None)


def test_gaussian():
    expected = golden('naclip.npz')['omega/14x21/std5.0']
    assert largest_difference(gaussian_neighborhood((14, 21), 5.0, torch.float32, CPU), expected) < 1e-6


#: The stored predictions: class names, seed and size of the image, original size, settings, tolerance of the logits.
CASES = {
    'naclip/voc20/whole/nopamr': ('voc20', 2, (336, 500), (375, 558), dict(window=None), 2e-4),
    'naclip/city/slide/nopamr': ('cityscapes', 1, (336, 448), (250, 333), dict(), 1e-5),
    'naclip/city/slide/pamr10': ('cityscapes', 1, (336, 448), (250, 333), dict(refine=dict()), 1e-5),
    'naclip/context60/slide/pamr10/thd.1': (
        'pc60',
        1,
        (336, 448),
        (250, 333),
        dict(refine=dict(query_chunk=7), prob_thd=0.1),
        2e-4,
    ),
}


def test_no_stored_case_is_left_out():
    stored = {key.removesuffix('/pred') for key in golden('naclip.npz') if key.endswith('/pred')}
    assert stored == set(CASES)


@pytest.mark.parametrize('case', CASES)
def test_whole_prediction(case):
    class_names, seed, size, original, settings, tolerance = CASES[case]
    stored = {
        key.removeprefix(f'{case}/'): value for key, value in golden('naclip.npz').items() if key.startswith(case)
    }
    model = naclip(class_names, **settings)
    assert largest_difference(model.text[0][model.vocabulary.occurrences], stored['query_features']) < 1e-6
    images, samples = [random_image(*size, seed)[0]], [SegDataSample(metainfo=dict(ori_shape=original))]
    logits = model(images, samples, mode='tensor')[0]
    expected = stored['seg_logits_pre_softmax[::25,::25]'][0]
    assert largest_difference(logits[:, ::25, ::25], expected) < tolerance
    labels = model(images, samples, mode='predict')[0].pred_sem_seg.data
    assert (labels == stored['pred']).float().mean() >= 0.9999


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_windows_do_not_see_each_other(arch, attention):
    """Every cell of Tables 3 and 4, batched and one by one, on images of different, non-square sizes."""
    images = [random_image(100, 75)[0], random_image(64, 120)[0], random_image(50, 64)[0]]
    samples = [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in images]
    settings = dict(arch=arch, attention=attention, window=64, stride=32)
    together = naclip(window_batch=8, **settings)(images, samples, mode='tensor')
    apart = [
        naclip(window_batch=1, **settings)([image], [sample], mode='tensor')[0]
        for image, sample in zip(images, samples, strict=True)
    ]
    for a, b in zip(together, apart, strict=True):
        assert largest_difference(a, b) < 1e-6


def test_registered_and_found_by_its_name():
    model = MODELS.build(
        dict(type='NACLIP', class_names='voc20', backbone=dict(arch=TINY, pretrained=None), sigma=3, prob_thd=0.2)
    )
    assert isinstance(model, NACLIP)
    assert model.sigma == 3
    assert model.shared_depth == 11
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(arch='reducde'), 'did you mean "reduced"'),
        (dict(attention='nacilp'), 'did you mean "naclip"'),
        (dict(sigma=0), 'sigma is 0.*above 0'),
        (dict(window=8), 'smaller than a patch'),
        (dict(window=64, stride=65), 'to leave no gap'),
        (dict(stride=0), 'at least 1'),
        (dict(window_batch=0), 'at least 1'),
        (dict(refine=dict(iterations=0)), 'iterations is 0'),
        (dict(templates='openai_81'), 'did you mean .*"openai_80"'),
        (dict(class_names='voc22'), 'did you mean "voc2'),
    ],
)
def test_wrong_settings_are_said(settings, message):
    with pytest.raises(BenchError, match=message):
        naclip(**settings)


def test_an_image_smaller_than_a_patch():
    with pytest.raises(BenchError, match='smaller than a patch'):
        naclip().predict([torch.zeros(3, 10, 40)])


def test_logits_that_are_not_finite_are_refused():
    model = naclip()
    model.backbone.clip.visual.proj.data[0, 0] = float('nan')
    sample = SegDataSample(metainfo=dict(ori_shape=(224, 224), img_path='some/image.jpg'))
    with pytest.raises(BenchError, match=r'some/image\.jpg are not finite'):
        model.predict([random_image(224, 224)[0]], [sample])


@pytest.mark.parametrize('refine', [None, dict(iterations=1, query_chunk=32)])
def test_many_classes_need_little_memory(tmp_path, refine):
    """847 classes on a 640x480 image: the logits alone would be 1 GiB, softmax and merge several."""
    path = tmp_path / 'many.txt'
    path.write_text('\n'.join(f'thing {number}' for number in range(847)))
    model = naclip(str(path), templates='photo', prob_thd=0.001, refine=refine)
    sample = SegDataSample(metainfo=dict(ori_shape=(480, 640)))
    memory = PeakMemory(CPU)
    memory.begin()
    model.predict([random_image(336, 448)[0]], [sample])
    assert 0 < memory.above_start() < 0.75e9
