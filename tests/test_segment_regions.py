"""Region maps of images of one's own are of what is segmented, however the file lies."""

import numpy as np
import pytest
import torch
from helper import DrawnRegions, tiny_helper
from PIL import Image

from naclip_bench.errors import BenchError
from naclip_bench.helpers.regions import RegionHelper
from naclip_bench.segment.segmenter import Segmenter


def segmenter(**regions):
    settings = {'model.window': 64, 'model.stride': 32}
    settings |= {'model.helper': dict(tiny_helper(), _delete_=True), 'model.regions': dict(regions, _delete_=True)}
    return Segmenter('corrclip', ['sky', 'sand'], weights='materials', device='cpu', short_side=64, settings=settings)


def rotated(path, mode, **how):
    """Save an image of 40 x 90 pixels that viewers show upright: 90 x 40; what they show."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, len(mode)), np.uint8).repeat(8, 0).repeat(10, 1)
    Image.fromarray(pixels, mode).save(path, exif=exif, **how)
    with Image.open(path) as stored:
        shown = stored.transpose(Image.Transpose.ROTATE_270)
        if mode == 'RGBA':
            shown = Image.alpha_composite(Image.new('RGBA', shown.size, 'white'), shown)
        return np.asarray(shown.convert('RGB'))


@pytest.mark.parametrize(('name', 'mode'), [('a.jpg', 'RGB'), ('a.png', 'RGB'), ('a.png', 'RGBA')])
def test_maps_are_of_the_upright_image(tmp_path, monkeypatch, name, mode):
    expected, seen = rotated(tmp_path / name, mode), []
    monkeypatch.setattr(DrawnRegions, 'of_image', RegionHelper.of_image)
    monkeypatch.setattr(
        DrawnRegions, 'regions', lambda self, image: seen.append(image) or torch.ones(image.shape[1:]).long()
    )
    result = segmenter(type='DrawnRegions')(str(tmp_path / name))
    assert result.labels.shape == (90, 40)
    (image,) = seen
    assert image.shape == (3, 90, 40)
    assert (image.permute(1, 2, 0) * 255 - torch.from_numpy(expected)).abs().max() < 3


def test_a_folders_map_must_be_of_the_upright_image(tmp_path):
    rotated(tmp_path / 'a.jpg', 'RGB')
    maps = tmp_path / 'maps'
    maps.mkdir()
    Image.fromarray(np.ones((90, 40), np.uint8)).save(maps / 'a.png')
    own = segmenter(type='RegionFolder', folder=str(maps))
    assert own(str(tmp_path / 'a.jpg')).labels.shape == (90, 40)
    Image.fromarray(np.ones((40, 90), np.uint8)).save(maps / 'a.png')
    with pytest.raises(BenchError, match=r'a\.png is 40 x 90, but the image 90 x 40'):
        own(str(tmp_path / 'a.jpg'))
