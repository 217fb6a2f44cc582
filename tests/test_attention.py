"""The attention figure: the right patch, the right weights, one line where it cannot be."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import COMMAND, run_here

from naclip_bench.configuration import load_config, method_config
from naclip_bench.errors import BenchError
from naclip_bench.figures.attention import attention, draw_attention
from naclip_bench.figures.picture import build_members, picture_of_file


@pytest.fixture
def image_file(tmp_path):
    """100 wide, 60 high."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    Image.fromarray(pixels).save(tmp_path / 'photo.png')
    return tmp_path / 'photo.png'


def maps_of(image_file, points, tiny_arch, *methods, **more):
    options = {'model.backbone.arch': tiny_arch}
    configs = {name: load_config(method_config(name), None, 'none', None, options) for name in methods}
    picture = picture_of_file(image_file, [dict(type='Resize', scale=(2048, 64), keep_ratio=True)])
    return attention(picture, build_members(configs, torch.device('cpu')), points, **more)


def over_image(seen, name, index=0):
    return seen.over_image(name, 'points', seen.patches[index])


def test_identity_attention_shows_the_patch_under_the_point(image_file, tiny_arch):
    """64x107 pixels are 4x6 patches; the remainder of 11 columns belongs to the last."""
    points = [(0, 0), (99, 59), (50, 20), (15, 14), (14, 15)]
    seen = maps_of(image_file, points, tiny_arch, 'maskclip')
    rows = [over_image(seen, 'maskclip', index) for index in range(5)]
    assert [tuple(np.argwhere(row.numpy())[0]) for row in rows] == [(0, 0), (3, 5), (1, 3), (0, 1), (1, 0)]
    assert all(row.sum() == 1 for row in rows)
    assert seen.picture.seen(seen.grid, 16) == pytest.approx((60, 96 * 100 / 107))


def test_several_methods_share_one_trunk(image_file, tiny_arch):
    together = maps_of(image_file, [(30, 30)], tiny_arch, 'naclip', 'sclip', 'gem')
    for name in together.maps:
        alone = maps_of(image_file, [(30, 30)], tiny_arch, name)
        assert torch.equal(over_image(together, name), over_image(alone, name))
    assert draw_attention(together).axes[1].get_title() == 'naclip'


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

    out = tmp_path / 'new' / 'out'
    outcome = attention('--out', out.with_suffix('.png'), '--short-side', 64)
    drawn = [out.with_suffix(suffix) for suffix in ('.png', '.svg')]
    assert (outcome.code, outcome.stdout.split(), outcome.stderr) == (0, [*map(str, drawn)], '')
    with Image.open(drawn[0]) as image:
        assert image.width > image.height
    # The same as a figure.
    given = ['attention', '--image', image_file, '--point', '30,30', '--method', 'naclip,clip', '--pretrained', 'none']
    given += ['--show', 'points', '--short-side', 64, '--out', tmp_path / 'figure']
    given += ['--cfg-options', f'model.backbone.arch={tiny_arch}']
    assert run_here(capfd, given, COMMAND.with_name('figure.py')).code == 0
    assert (tmp_path / 'figure.svg').read_bytes() == drawn[1].read_bytes()
    mistakes = {
        ('--point', '3;4'): '"3;4" is not X,Y',
        ('--short-side', 0): '--short-side is 0',
        ('--image', 'b.png'): '--image does not go',
    }
    for more, message in mistakes.items():
        outcome = attention(*more)
        assert outcome.code == 1 and message in outcome.stderr and outcome.stderr.count('\n') == 1
