"""Figures of images: what is shown is what the method computes, and each is drawn on Materials by one command."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from PIL import Image
from torch.nn import functional as F

from naclip_bench import cli
from naclip_bench.configuration import load_pair
from naclip_bench.errors import BenchError
from naclip_bench.figures.attention import ROWS, attention, draw_attention
from naclip_bench.figures.canvas import as_svg, new_figure, save
from naclip_bench.figures.clusters import clusters, draw_clusters
from naclip_bench.figures.correlation import (
    AFTER,
    BEFORE,
    COSINES,
    DENOISED,
    correlation,
    draw_correlation,
    global_patches,
)
from naclip_bench.figures.gaussian import draw_gaussian, gaussian, omega_around, radius
from naclip_bench.figures.norms import channel_norms, draw_norms, entropy, norms, pair_similarity
from naclip_bench.figures.picture import Picture, build_members, normalized, open_pictures
from naclip_bench.figures.sheet import about, draw_sheet, sheet

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def members():
    """Methods on one tiny CLIP of Materials."""
    names = ('clip', 'naclip', 'sclip', 'cliptrase', 'gclip')
    return build_members({name: load_pair(name, 'materials24') for name in names}, CPU)


@pytest.fixture(scope='module')
def pictures():
    return open_pictures(load_pair('clip', 'materials24'), [], 2)


@pytest.fixture(scope='module')
def clip(members):
    return members['clip'].backbone


def texts(figure):
    """Every text of a figure that is seen."""
    root = ElementTree.fromstring(as_svg(figure))
    return [''.join(of.itertext()) for of in root.iter('{http://www.w3.org/2000/svg}text')]


# ---- images


def test_images_of_a_dataset_and_of_files(pictures, tmp_path):
    first = pictures[0]
    assert (first.name, first.ignore_index) == ('materials24 00000', 255)
    assert first.image.shape[:2] == first.truth.shape and min(first.inputs.shape[1:]) == 96
    Image.fromarray(first.image).save(tmp_path / 'photo.png')
    config = load_pair('clip', 'materials24')
    of_file, named = open_pictures(config, [str(tmp_path / 'photo.png'), '00001'])
    assert of_file.name == 'photo.png' and of_file.truth is None
    assert np.array_equal(of_file.image, first.image) and torch.equal(of_file.inputs, first.inputs)
    assert np.array_equal(named.image, pictures[1].image)
    with pytest.raises(BenchError, match='there is no file and no image of materials24 x; known: 00000, 00001'):
        open_pictures(config, ['x'])


def test_a_point_and_the_middle_of_its_patch():
    """120 x 90 pixels that the model sees as 40 x 30: a patch of 8 covers 24 x 24, the last ones what is left too."""
    picture = Picture('p', np.zeros((90, 120, 3), np.uint8), torch.zeros(3, 30, 40))
    assert picture.seen((3, 5), 8) == (72, 120)
    assert [picture.patch_at(point, (3, 5), 8) for point in ((0, 0), (23, 23), (24, 0), (0, 24), (119, 89))] == [
        0, 0, 1, 5, 14,
    ]  # fmt: skip
    for index in range(15):
        x, y = picture.center_of(index, (3, 5), 8)
        assert picture.patch_at((round(x), round(y)), (3, 5), 8) == index


def test_points_lie_inside_the_largest_classes():
    truth = np.full((40, 60), 255)
    truth[5:16, 5:16], truth[20:35, 30:51] = 3, 7
    picture = Picture('p', np.zeros((40, 60, 3), np.uint8), torch.zeros(3, 40, 60), truth)
    (x, y), other = picture.points(2)
    # The innermost row of the wide one; the very middle of the other.
    assert y == 27 and 37 <= x <= 43 and other == (10, 10)
    assert Picture('p', picture.image, picture.inputs).points(1) == [(30, 20)]


# ---- attention


def test_attention_is_the_methods_own_as_shares(members, clip, pictures):
    picture, chosen = pictures[0], {name: members[name] for name in ('clip', 'sclip', 'naclip')}
    seen = attention(picture, chosen, [(10, 70)], blocks=[1, 4])
    assert list(seen.maps) == ['block 1', 'clip, block 4', 'sclip, block 4', 'naclip, block 4']
    for weights in seen.maps.values():
        assert torch.allclose(weights.sum(-1), torch.ones(len(weights)), atol=1e-5) and (weights >= 0).all()
    trunk = clip.trunk(normalized(picture, members['clip']), 3, attention=[0])
    assert torch.allclose(seen.maps['block 1'], trunk.attention[0][0].mean(0), atol=1e-6)
    # SCLIP's own rows add up to 2.
    own = members['sclip'].attention_weights(trunk)[0].mean(0)
    assert torch.allclose(seen.maps['sclip, block 4'], own / 2, atol=1e-6)
    assert torch.allclose(seen.maps['clip, block 4'], clip.blocks[3].attention_map(trunk.tokens)[0].mean(0), atol=1e-6)


def test_rows_of_the_attention_figure(members, clip, pictures):
    seen = attention(pictures[0], {'clip': members['clip']}, [(10, 70)], head=2)
    trunk = clip.trunk(normalized(pictures[0], members['clip']), 3)
    weights = clip.blocks[3].attention_map(trunk.tokens)[0, 1]
    (patch,) = seen.patches
    expected = {'points': weights[1 + patch, 1:], 'cls': weights[0, 1:], 'to_cls': weights[1:, 0]}
    # The product of eq. 2 is highest where the mean of the logarithms is.
    most = int(weights[1:, 1:].log().mean(0).argmax())
    expected['global'] = weights[1 + most, 1:]
    assert seen.global_patch('clip') == most
    for row, values in expected.items():
        assert torch.allclose(seen.over_image('clip', row, patch).flatten(), values, atol=1e-6)
    shown = texts(draw_attention(seen, [*ROWS]))
    assert 'Attention: materials24 00000; weights: materials' in shown
    assert [text in shown for text in ('from the patch', 'from [CLS]', 'to [CLS]', 'clip')] == [True] * 4


def test_a_block_or_head_that_there_is_not(members, pictures):
    for more, message in (
        (dict(blocks=[5]), 'block 5: this backbone has blocks 1 to 4'),
        (dict(blocks=[0]), 'block 0: this backbone has blocks 1 to 4'),
        (dict(head=5), 'head 5: this backbone has heads 1 to 4'),
    ):
        with pytest.raises(BenchError, match=message):
            attention(pictures[0], {'clip': members['clip']}, [(0, 0)], **more)


# ---- CLIPtrase


def test_correlations_of_a_patch(members, clip, pictures):
    picture, method = pictures[1], members['cliptrase']
    seen = correlation(picture, method, [(20, 30)])
    # W by its definition: cosines of q, of k and of v in the block before the last, averaged over all heads.
    tokens = clip.trunk(normalized(picture, method), 2).tokens
    unit = [F.normalize(of, dim=-1)[0] for of in clip.blocks[2].qkv(tokens)]
    cosines = torch.stack([(of @ of.mT).mean(0) for of in unit]).mean(0)
    assert torch.allclose(seen.maps[COSINES], cosines[1:, 1:], atol=1e-5)
    assert torch.allclose(seen.maps[DENOISED], (cosines[1:, 1:] - cosines[0, 1:]).clamp(min=0), atol=1e-5)
    last = clip.trunk(normalized(picture, method), 3).tokens
    assert torch.allclose(seen.maps[BEFORE], clip.blocks[3].attention_map(last)[0].mean(0)[1:, 1:], atol=1e-6)
    scale = clip.blocks[3].qkv(last)[0].shape[-1] ** -0.5
    recovered = sum((of @ of.mT * scale).softmax(-1)[0].mean(0) for of in clip.blocks[3].qkv(last)) / 3
    assert torch.allclose(seen.maps[AFTER], recovered[1:, 1:], atol=1e-5)
    # The most global patch stands behind the one asked for.
    assert seen.patches[0] == picture.patch_at((20, 30), seen.grid, 8)
    assert seen.patches[1:] == [int(seen.maps[BEFORE].sum(0).argmax())] and seen.is_global[seen.patches[1]]
    shown = texts(draw_correlation(seen))
    assert {'a global patch', 'W, denoised', 'image, global patches'} <= {*shown}


def test_global_patches_get_four_times_their_share():
    attention_map = torch.full((10, 10), 0.05)
    attention_map[:, 4] = 0.55
    assert global_patches(attention_map).tolist() == [index == 4 for index in range(10)]
    attention_map[:, 4] = 0.05
    assert not global_patches(attention_map).any()


def test_clusters_are_what_the_method_segments_by(members, pictures):
    picture, method = pictures[1], members['cliptrase']
    plain, denoised = (clusters(picture, method, denoise) for denoise in (False, True))
    trunk = method.backbone.trunks(normalized(picture, method), [method.need])[0]
    (maps,) = method.maps(None, trunk)
    size = picture.image.shape[:2]
    regions = F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0].argmax(0)
    assert denoised.count == len(maps) > 1 and np.array_equal(denoised.pixels, regions.numpy())
    assert denoised.patches.shape == trunk.grid and denoised.patches.max() == denoised.count - 1
    assert not np.array_equal(plain.patches, denoised.patches)
    shown = texts(draw_clusters([(picture, plain, denoised)], method))
    assert {'patches, denoised', 'regions, denoised', 'ground truth'} <= {*shown}
    assert f'{denoised.count} clusters, {(denoised.patches < 0).sum()} noise' in shown


def test_only_cliptrase_has_clusters(members, pictures):
    with pytest.raises(BenchError, match="CLIPtrase's"):
        clusters(pictures[0], members['clip'], True)
    with pytest.raises(BenchError, match="CLIPtrase's"):
        correlation(pictures[0], members['clip'], [])


# ---- GCLIP


def test_norms_are_of_the_weights_as_they_were_trained(clip):
    stored = clip.blocks[1].module.mlp.c_proj.weight
    folded = 1.702 if clip.blocks[1].silu else 1
    expected = (folded * stored.double()).square().sum(1).sqrt()
    assert torch.allclose(channel_norms(clip)[1], expected.float(), rtol=1e-5)


def test_entropy_falls_where_a_channel_stands_out():
    even = torch.ones(2, 768)
    even[1, 138] = 11.0
    share = math.exp(10) / (math.exp(10) + 767)
    rest = (1 - share) / 767
    expected = -(share * math.log(share) + 767 * rest * math.log(rest)) / math.log(768)
    assert entropy(even).tolist() == pytest.approx([1.0, expected], abs=1e-5) and expected < 0.1


def test_similarity_inside_and_across():
    values = torch.tensor([[1.0, 0], [2, 0], [0, 3], [5, 5]])
    sums, pairs = pair_similarity(values, torch.tensor([0, 0, 1, -1]))
    # One pair within the first class, two across, each counted from both ends; the last patch has no class.
    assert pairs.tolist() == [2, 4] and sums.tolist() == [2, 0]


def test_norms_of_materials(members, pictures):
    method = members['gclip']
    found = norms(pictures, method)
    assert found.about == f'2 images of materials24, {found.emerging.sum()} windows'
    assert found.of_channels.shape == (4, 128) and found.suppressed_from == 2
    # Patches of a class are nearer to each other than to others.
    assert (found.similarity[:, 0] > found.similarity[:, 1]).all()
    shown = texts(draw_norms(found))
    assert {'entropy of weight norms', 'block 3', 'first block with a global token'} <= {*shown}
    with pytest.raises(BenchError, match='has no mask'):
        norms([Picture('p', pictures[0].image, pictures[0].inputs)], method)


# ---- NACLIP


def test_the_gaussian_is_the_formula():
    """Eq. 10 and 17 to 20, and Fig. 4: with sigma 5, 37 patches are raised by 0.8 or more."""
    around = omega_around(5.0)
    y, x = np.indices(around.shape) - len(around) // 2
    assert np.allclose(around, np.exp(-(x**2 + y**2) / 50))
    assert (around > 0.8).sum() == 37
    assert ((x**2 + y**2 < radius(5.0, 0.8) ** 2) == (around > 0.8)).all()


def test_parts_of_a_patchs_attention(members, clip, pictures):
    picture, method = pictures[0], members['naclip']
    seen = gaussian(picture, method, (40, 50))
    of = attention(picture, {'naclip': method, 'clip': members['clip']}, [(40, 50)])
    for part, name in (('softmax (NACLIP)', 'naclip'), ('softmax (CLIP)', 'clip')):
        assert torch.allclose(seen.parts[part], of.over_image(name, 'points', of.patches[0]), atol=1e-6)
    assert torch.allclose(seen.parts['k k / √d + omega'], seen.parts['k k / √d'] + seen.parts['omega'], atol=1e-5)
    assert seen.parts['omega'].max() == 1 and seen.parts['omega'].flatten().argmax() == of.patches[0]
    assert 'circle: raised by more than 0.8 (13 patches)' in texts(draw_gaussian(seen))


# ---- sheets


def test_a_sheet_shows_what_is_predicted(members, pictures):
    chosen = {name: members[name] for name in ('clip', 'naclip')}
    rows = sheet(pictures, chosen)
    for row, picture in zip(rows, pictures, strict=True):
        assert [*row.labels] == ['ground truth', 'clip', 'naclip']
        sample = SegDataSample(metainfo=dict(ori_shape=picture.truth.shape))
        image = members['naclip'].data_preprocessor(dict(inputs=[picture.inputs]))['inputs']
        (alone,) = members['naclip'].predict(image, [sample])
        assert np.array_equal(row.labels['naclip'], alone.pred_sem_seg.data[0].numpy())
        assert set(np.unique(row.labels['ground truth'])) == {*np.unique(picture.truth)} - {255} | {-1}
    assert about(rows) == 'materials24 00000, 00001'
    shown = texts(draw_sheet(rows, members['clip']))
    assert 'materials24 00000, 00001; weights: materials' in shown


def test_a_sheet_needs_no_masks(members, pictures):
    (row,) = sheet([Picture('photo.png', pictures[0].image, pictures[0].inputs)], {'clip': members['clip']})
    assert [*row.labels] == ['clip'] and about([row]) == 'photo.png'


# ---- files and the command


def test_random_weights_are_said_in_every_title():
    shown = texts(new_figure(6, 1, 'a title', random_weights=True))
    assert shown == ['a title', 'RANDOM WEIGHTS: this figure means nothing']


def test_the_same_figure_gives_the_same_files(tmp_path):
    contents = []
    for name in ('x', 'y'):
        figure = new_figure(2, 1, 'a')
        figure.subplots().plot([1, 2])
        contents.append([path.read_bytes() for path in save(figure, tmp_path / name / 'f')])
    first, second = contents
    assert first == second


@pytest.mark.parametrize(
    'words',
    [
        'attention --block 3,4 --method clip --show points matrix',
        'correlation',
        'clusters --limit 1',
        'norms --limit 1',
        'gaussian --point 20,20',
        'sheet --limit 1 --method naclip --words brick,lava,grass',
        'attention --pretrained none --method clip',
    ],
)
def test_each_figure_is_one_command(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    name = words.split()[0]
    cli.dispatch(['figure', *words.split()])
    paths = [f'work_dirs/figures/{name}.{kind}' for kind in ('png', 'svg')]
    assert capsys.readouterr().out.split() == paths
    with Image.open(paths[0]) as drawn:
        assert min(drawn.size) > 100
    svg = (tmp_path / paths[1]).read_text()
    assert ('RANDOM WEIGHTS' in svg, 'weights: materials' in svg) == ('none' in words, True)
    assert 'materials24' in svg


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('attenton', "argument NAME: invalid choice: 'attenton'"),
        ('attention --block 1;2', 'argument --block: "1;2" is no list of numbers'),
        ('attention --show clss', 'the figure of attention has no row "clss"; did you mean "cls" or "to_cls"?'),
        ('attention --point 500,2', 'the point 500,2 is outside materials24 00000, which is'),
        ('attention --method naclp', 'there is no method or config naclp; did you mean "naclip"'),
        ('sheet --limit 0', '--limit is 0; it must be at least 1'),
        ('norms --method clip', 'norms are looked at with GCLIP'),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError) as error:
        cli.dispatch(['figure', *words.split()])
    assert str(error.value).startswith(message) and '\n' not in str(error.value)
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]
