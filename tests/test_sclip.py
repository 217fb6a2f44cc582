"""SCLIP's ablations against literal transcriptions of their equations, and its learned projection."""

import json
import math

import pytest
import torch
from golden import TINY, largest_difference, random_image
from literal import dot, finished, gathered, projected, rows, softmax
from plans import tiny_leaf
from safetensors.torch import save_file
from tiny import TinyBench, run_here
from torch.nn import functional as F

from naclip_bench.bundled import CONFIGS
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.opened import OpenPass, Pass
from naclip_bench.methods.learned_projection import (
    learn_projection,
    projection_loss,
    read_projection,
    windows_of,
    write_projection,
)
from naclip_bench.methods.sclip import SCLIP, random_projections

pytestmark = pytest.mark.numeric

IMAGE = random_image(48, 64)
LEARN = CONFIGS.parent / 'tools' / 'learn.py'


def sclip(class_names='voc20', **settings):
    return SCLIP(class_names=class_names, backbone=dict(arch=TINY, pretrained=None), **settings)


def written(model, trunk, matrices):
    """Eq. 2 with each matrix in each head, averaged (Section 4.3), in the whole block."""
    module = model.backbone.blocks[-1].module
    seen = F.layer_norm(trunk.tokens[0].double(), (128,), module.ln_1.weight.double(), module.ln_1.bias.double())
    values, heads = projected(model.backbone, trunk.tokens[0])['v'], []
    for head, of_head in enumerate(values):
        maps = []
        for matrix in matrices:
            x = rows((seen @ matrix.double())[:, 64 * head : 64 * head + 64])
            maps.append([softmax([dot(a, b) / math.sqrt(64) for b in x]) for a in x])
        count = range(len(of_head))
        weights = [[math.fsum(of[i][j] for of in maps) / len(maps) for j in count] for i in count]
        heads.append(gathered(weights, of_head))
    return finished(model.backbone, trunk.tokens[0], heads, True)


@torch.no_grad()
def test_identity_and_random_projections():
    cpu = torch.device('cpu')
    for settings, matrices in (
        (dict(attention='identity'), [torch.eye(128)]),
        (dict(attention='random', seed=3), random_projections(1, 128, 3, torch.float32, cpu)),
        (dict(attention='random', projections=4), random_projections(4, 128, 0, torch.float32, cpu)),
    ):
        model = sclip(**settings)
        tokens, trunk = model.window_tokens(IMAGE)
        assert largest_difference(tokens[0], written(model, trunk, matrices)) < 1e-5, settings


def sharpened(q, k, tau):
    """CLIP's own attention at another temperature; at 0 each token takes the one it is the most like."""
    products = [[dot(a, b) for b in k] for a in q]
    if tau == 0:
        return [[float(product == max(row)) for product in row] for row in products]
    return [softmax([product / tau for product in row]) for row in products]


def local(q, k, side):
    """CLIP's own attention where a patch of the 3 x 4 sees the square around it alone, and [CLS] all."""
    places = [(i, j) for i in range(3) for j in range(4)]
    near = [[False, *(max(abs(a - c), abs(b - d)) <= side // 2 for c, d in places)] for a, b in places]
    seen = [[True] * 13, *near]
    return [
        softmax([dot(a, b) / 8 if s else -math.inf for b, s in zip(k, row, strict=True)])
        for a, row in zip(q, seen, strict=True)
    ]


@torch.no_grad()
@pytest.mark.parametrize(
    ('settings', 'weights'),
    [
        (dict(attention='q'), lambda of, early: [sharpened(q, q, 8) for q in of['q']]),
        (dict(attention='k'), lambda of, early: [sharpened(k, k, 8) for k in of['k']]),
        (
            dict(attention='sharpen', tau=2),
            lambda of, early: [sharpened(q, k, 2) for q, k in zip(of['q'], of['k'], strict=True)],
        ),
        (
            dict(attention='sharpen', tau=0),
            lambda of, early: [sharpened(q, k, 0) for q, k in zip(of['q'], of['k'], strict=True)],
        ),
        (dict(attention='local'), lambda of, early: [local(q, k, 3) for q, k in zip(of['q'], of['k'], strict=True)]),
        (
            dict(attention='early', layer=3),
            lambda of, early: [sharpened(q, k, 8) for q, k in zip(early['q'], early['k'], strict=True)],
        ),
    ],
)
def test_other_attentions(settings, weights):
    """Tables 2 and 3; sqrt(d) is 8."""
    model = sclip(**settings)
    tokens, trunk = model.window_tokens(IMAGE)
    of = projected(model.backbone, trunk.tokens[0])
    early = projected(model.backbone, model.backbone.trunk(IMAGE, 2).tokens[0], 2)
    heads = [gathered(*pair) for pair in zip(weights(of, early), of['v'], strict=True)]
    assert largest_difference(tokens[0], finished(model.backbone, trunk.tokens[0], heads, True)) < 1e-5


@torch.no_grad()
def test_seeds_are_trials():
    """A seed draws the same matrices again, another one others; their deviation is width^-0.5."""
    first, again, other = (sclip(attention='random', seed=seed).window_tokens(IMAGE)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and largest_difference(first, other) > 1e-3
    matrices = random_projections(16, 128, 1, torch.float32, torch.device('cpu'))
    assert abs(float(matrices.std()) - 128**-0.5) < 1e-3


# ---- the learned projection


@pytest.fixture
def matrix():
    return torch.randn(128, 128, generator=torch.Generator().manual_seed(0)) * 128**-0.5


@pytest.fixture
def file(tmp_path, matrix):
    path = tmp_path / 'projection.safetensors'
    write_projection(path, matrix, sclip().backbone, dict(seed=0))
    return path


@torch.no_grad()
def test_learned_projection(file, matrix):
    model = sclip(attention='learned', projection=file)
    tokens, trunk = model.window_tokens(IMAGE)
    assert largest_difference(tokens[0], written(model, trunk, [matrix])) < 1e-5


def test_the_loss_is_the_decisions_cross_entropy():
    """Pixel by pixel: the softmax over all words, a class's likeliest word, the pixel's patch."""
    model = sclip('voc21', window=32, stride=16, templates='photo')
    vocabulary, labels = model.vocabulary, torch.full((48, 64), 255)
    labels[:20, :30], labels[20:, 40:] = 3, 0
    counts = torch.zeros(1, 12, 21)
    tokens, trunk = model.window_tokens(IMAGE)
    cosines = rows(F.normalize(tokens[0, 1:].double(), dim=-1) @ model.text.vectors.double().T)
    total, pixels = [], 0
    for y in range(48):
        for x in range(64):
            if (label := int(labels[y, x])) != 255:
                patch = y // 16 * 4 + x // 16
                counts[0, patch, label] += 1
                pixels += 1
    for patch, row in enumerate(cosines):
        shares = softmax([40 * row[place] for place in vocabulary.occurrences.tolist()])
        for label in (0, 3):
            likeliest = max(s for s, c in zip(shares, vocabulary.word_class.tolist(), strict=True) if c == label)
            total.append(-float(counts[0, patch, label]) * math.log(likeliest))
    loss = projection_loss(model, trunk.tokens, trunk.grid, counts)
    assert math.isclose(float(loss), math.fsum(total) / pixels, rel_tol=1e-5)


def test_windows_have_the_pixels_of_their_patches():
    model = sclip(window=32, stride=16, templates='photo')
    labels = torch.randint(0, 20, (48, 56), generator=torch.Generator().manual_seed(0))
    labels[10:14] = 255
    tokens, grid, counts = windows_of(model, random_image(48, 56)[0], labels, 255)
    assert (len(tokens), grid, tuple(counts.shape)) == (6, (2, 2), (6, 4, 20))
    for window, (top, left) in enumerate((y, x) for y in (0, 16) for x in (0, 16, 24)):
        for patch in range(4):
            y, x = top + 16 * (patch // 2), left + 16 * (patch % 2)
            pixels = labels[y : y + 16, x : x + 16].flatten().tolist()
            assert counts[window, patch].tolist() == [pixels.count(label) for label in range(20)]


def test_learning_lowers_the_loss_and_is_the_same_for_a_seed():
    labels = torch.full((96, 128), 255)
    labels[:, :64], labels[:, 64:120] = 1, 2
    images = [(IMAGE[0], labels), (random_image(64, 48)[0], labels)]
    found = []
    for _ in range(2):
        losses = []
        model = sclip(attention='q', window=32, stride=16, templates='photo')
        found.append(learn_projection(model, images, 255, tell=lambda epoch, loss, to=losses: to.append(loss)))
        assert losses[-1] < losses[0]
    assert torch.equal(*found)
    assert not torch.equal(found[0], model.backbone.blocks[-1].module.attn.in_proj_weight[:128].T)


def test_a_file_of_other_weights_or_none(file, tmp_path, matrix):
    with pytest.raises(BenchError, match=r'SCLIP\.projection is None'):
        sclip(attention='learned')
    with pytest.raises(BenchError, match='there is no projection'):
        sclip(attention='learned', projection=str(tmp_path / 'none.safetensors'))
    with pytest.raises(BenchError, match='no file of a projection'):
        (tmp_path / 'text').write_text('text')
        sclip(attention='learned', projection=tmp_path / 'text')
    with pytest.raises(BenchError, match='no file of a projection'):
        save_file({'other': matrix}, tmp_path / 'other')
        sclip(attention='learned', projection=tmp_path / 'other')
    backbone = sclip().backbone
    backbone.weights_hash = 'another'
    with pytest.raises(BenchError, match='learned on other weights'):
        read_projection(file, backbone)


def test_the_command(tmp_path, capfd):
    """From images to a file to a result, whose key knows what the file holds and not where it lies."""
    bench = TinyBench(tmp_path / 'bench', classes=(0, 3, 15))
    out = tmp_path / 'projections' / 'voc21.safetensors'
    given = bench.arguments('--out', str(out), '--images', '2', config='sclip_voc21', without=('--work-dir', '--store'))
    assert run_here(capfd, given, LEARN).code == 0
    (moved := tmp_path / 'moved').write_bytes(out.read_bytes())
    keys = set()
    for path in (out, moved):
        leaf = tiny_leaf(bench, 'sclip_voc21', model__attention='learned', model__projection=str(path))
        keys |= {*OpenPass(Pass([leaf]), Selection()).keys}
    assert len(keys) == 1
    options = {'model.attention': 'learned', 'model.projection': out}
    assert bench.run(capfd, config='sclip_voc21', options=options).code == 0
    assert json.loads((bench.work_dir / 'result.json').read_text())['metrics']['mIoU'] >= 0
    assert run_here(capfd, [*given, 'model.window=16'], LEARN).code == 0
    leaf = tiny_leaf(bench, 'sclip_voc21', model__attention='learned', model__projection=str(out))
    assert {*OpenPass(Pass([leaf]), Selection()).keys} != keys


def test_what_the_command_refuses(tmp_path, capfd):
    bench = TinyBench(tmp_path / 'bench')
    out = ('--out', str(tmp_path / 'p'), '--images')

    def said(*more, config='sclip_voc21'):
        ended = run_here(capfd, bench.arguments(*more, config=config, without=('--work-dir', '--store')), LEARN)
        assert ended.code != 0 and not (tmp_path / 'p').exists()
        return ended.stderr

    assert 'the dataset has 4' in said(*out, '5')
    assert 'no config of SCLIP' in said(*out, '2', config='naclip_voc21')
    scored = '2007_000033'
    bench.image('p0').rename(bench.image(scored))
    bench.mask('p0').rename(bench.mask(scored))
    bench.list.write_text(f'{scored}\np1\n')
    assert f'scored by voc21: 1 ({scored})' in said(*out, '2')
