"""The attention figure: the right patch, the right weights, one line where it cannot be."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import COMMAND, run_here

from naclip_bench.configuration import load_config, method_config
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.attention import OPACITY, attention_maps, draw_attention, whole_map


@pytest.fixture
def image_file(tmp_path):
    """100 wide, 60 high."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    Image.fromarray(pixels).save(tmp_path / 'photo.png')
    return tmp_path / 'photo.png'


def maps_of(image_file, points, tiny_arch, *methods, short_side=64):
    options = {'model.backbone.arch': tiny_arch}
    configs = {name: load_config(method_config(name), None, 'none', None, options) for name in methods}
    return attention_maps(image_file, points, configs, short_side, torch.device('cpu'))


def test_identity_attention_shows_the_patch_under_the_point(image_file, tiny_arch):
    """64x107 pixels are 4x6 patches; the remainder of 11 columns belongs to the last."""
    points = [(0, 0), (99, 59), (50, 20), (15, 14), (14, 15)]
    seen = maps_of(image_file, points, tiny_arch, 'maskclip')
    found = [tuple(np.argwhere(weights.numpy())[0]) for weights in seen.maps['maskclip']]
    assert found == [(0, 0), (3, 5), (1, 3), (0, 1), (1, 0)]
    assert torch.equal(seen.maps['maskclip'].sum((1, 2)), torch.ones(5))
    assert seen.seen == pytest.approx((60, 96 * 100 / 107))


def test_several_methods_share_one_trunk(image_file, tiny_arch):
    together = maps_of(image_file, [(30, 30)], tiny_arch, 'naclip', 'sclip', 'gem')
    for name, weights in together.maps.items():
        assert torch.equal(weights, maps_of(image_file, [(30, 30)], tiny_arch, name).maps[name])
    figure = draw_attention(together)
    assert figure.axes[1].get_title().startswith('naclip, highest 0.')
    assert figure.axes[-1].get_ylabel() == 'weight, as a part of the highest', 'there is a color bar'
    marks = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert marks == ['random weights'] * 3 and 'RANDOM WEIGHTS' in figure.get_suptitle()


def test_a_map_reaches_the_edges_of_the_image(image_file, tiny_arch):
    """What no whole patch covers shows the last patch; every pixel is dimmed alike."""
    seen = maps_of(image_file, [(30, 30)], tiny_arch, 'naclip')
    photo, over = draw_attention(seen).axes[1].images
    assert photo.get_array().shape == over.get_array().shape == (60, 100)
    assert photo.get_extent() == over.get_extent() and over.get_alpha() == OPACITY


def test_weights_of_patches_become_weights_of_pixels():
    """Linear between the centers of patches, flat beyond the outer ones: two patches over 8 of 11 pixels."""
    weights = torch.tensor([[0.0, 1.0]])
    found = whole_map(weights, (4, 8), (4, 11))
    assert found.shape == (4, 11) and (found == found[0]).all()
    assert found[0].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 1]
    assert whole_map(weights.T, (8, 4), (11, 4))[:, 0].tolist() == found[0].tolist()


@pytest.mark.parametrize(
    ('point', 'methods', 'message'),
    [
        ((100, 0), ['naclip'], 'the point 100,0 is outside .*photo.png, which is 100 wide and 60 high'),
        ((0, 0), ['naclp'], 'there is no method or config naclp; did you mean "naclip"'),
    ],
)
def test_what_cannot_be_is_said(image_file, tiny_arch, point, methods, message):
    with pytest.raises(BenchError, match=message):
        maps_of(image_file, [point], tiny_arch, *methods)


def test_command(image_file, tiny_arch, tmp_path, capfd):
    def attention(*more):
        given = [image_file, '--point', '30,30', '--method', 'naclip,clip', '--pretrained', 'none', *more]
        given += ['--cfg-options', f'model.backbone.arch={tiny_arch}']
        return run_here(capfd, given, COMMAND.with_name('attention.py'))

    out = tmp_path / 'new' / 'out.png'
    outcome = attention('--out', out)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, f'{out}\n', '')
    with Image.open(out) as drawn:
        assert drawn.width > drawn.height
    outcome = attention('--out', tmp_path / 'a.bmp')
    assert outcome.code == 1 and 'must end in .png' in outcome.stderr and outcome.stderr.count('\n') == 1
    outcome = attention('--point', '3;4')
    assert outcome.code == 1 and '"3;4" is not X,Y' in outcome.stderr
