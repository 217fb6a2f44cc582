"""What can be given as an image: read rightly, or refused in one line."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from naclip_bench.datasets.loading import LoadImage
from naclip_bench.errors import BenchError
from naclip_bench.segment.inputs import picture_of
from naclip_bench.segment.segmenter import Segmenter

RANDOM = np.random.default_rng(0)
SMOOTH = RANDOM.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


MODES = [(kind, mode) for kind in ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF') for mode in ('RGB', 'L')]
MODES += [('JPEG', 'CMYK'), ('PNG', 'P'), ('PNG', '1'), ('BMP', 'P'), ('TIFF', 'P')]


def stored(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def read(given: object) -> np.ndarray:
    return picture_of(given).image


@pytest.mark.parametrize(('kind', 'mode'), MODES)
def test_plain_files_are_what_benchmarks_see(tmp_path, kind, mode):
    path = tmp_path / f'a.{kind.lower()}'
    Image.fromarray(SMOOTH).convert(mode).save(path)
    seen = LoadImage().transform(dict(img_path=str(path)))['img'][..., ::-1]
    assert (read(path) == seen).all()


def test_cmyk_has_its_colors():
    content = stored(Image.fromarray(SMOOTH).convert('CMYK'), 'JPEG', quality=100, subsampling=0)
    assert np.abs(read(content).astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize('orientation', [3, 6, 8])
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(Image.fromarray(SMOOTH), 'JPEG', quality=100, subsampling=0, exif=exif)
    turned = np.rot90(SMOOTH, {3: 2, 6: 3, 8: 1}[orientation])
    for given in (content, Image.open(io.BytesIO(content))):
        assert read(given).shape == turned.shape
        assert np.abs(read(given).astype(int) - turned).mean() < 4


def test_transparent_pixels_lie_on_white():
    alpha = np.zeros(SMOOTH.shape[:2], np.uint8)
    alpha[:24] = 255
    expected = np.where(alpha[..., None] == 255, SMOOTH, 255)
    clear = np.dstack([SMOOTH, alpha])
    for given in (
        clear,
        stored(Image.fromarray(clear), 'PNG'),
        Image.fromarray(clear),
        torch.tensor(clear).permute(2, 0, 1),
    ):
        assert (read(given) == expected).all()
    half = read(np.full((4, 4, 4), 128, np.uint8))
    assert half.min() == half.max() == 191


def test_first_frame_of_a_gif():
    first, second = (Image.new('RGB', (20, 20), color) for color in ('red', 'blue'))
    animated = stored(first, 'GIF', save_all=True, append_images=[second], duration=50)
    for content in (animated, stored(first, 'GIF')):
        assert (read(content) == (255, 0, 0)).all()


def test_16_bits_cover_their_whole_range(tmp_path):
    gray = (np.arange(48 * 64, dtype=np.uint32).reshape(48, 64) * 65535 // (48 * 64 - 1)).astype(np.uint16)
    path = tmp_path / 'a.png'
    Image.fromarray(gray).save(path)
    for given in (path, gray, Image.open(path), torch.tensor(gray.astype(np.int32))):
        assert (read(given) == (gray >> 8)[..., None]).all()
    Image.fromarray(gray >> 6).save(path)
    for given in (path, gray >> 6, Image.open(path)):
        with pytest.raises(BenchError, match='nearly black'):
            read(given)


def png(width: int, height: int) -> bytes:
    """A PNG of a size that its header alone tells."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (b'', 'is empty'),
        (b'no image', 'cannot be decoded'),
        (png(0, 5), 'cannot be decoded'),
        (stored(Image.fromarray(SMOOTH), 'JPEG')[:300], 'is truncated'),
        (stored(Image.fromarray(SMOOTH), 'PNG')[:-20], 'is truncated'),
        (np.zeros((0, 5, 3), np.uint8), 'is empty'),
        (np.zeros((3, 20, 20), np.uint8), r'transpose\(1, 2, 0\)'),
        (np.zeros((2, 20, 20, 3), np.uint8), '4 dimensions'),
        (np.zeros((20, 20, 3), np.complex64), 'complex64 numbers'),
        (np.full((20, 20), 7.0), 'not all from 0 to 1'),
        (np.full((20, 20), np.nan), 'not all from 0 to 1'),
        (np.full((20, 20), -1), 'int64 numbers'),
        (torch.zeros(20, 20, 3), r'must be \(3, H, W\)'),
        ('https://example.org/a.jpg', 'is an address'),
        ('no/such.jpg', 'cannot read the image no/such.jpg'),
        ('.', 'is a folder'),
        (17, 'cannot segment a int'),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(given, said):
    with pytest.raises(BenchError, match=said) as caught:
        picture_of(given)
    assert '\n' not in str(caught.value)


def test_odd_sizes():
    segmenter = Segmenter('naclip', ['grass', 'brick'], weights='materials', device='cpu')
    assert segmenter(np.zeros((1, 1, 3), np.uint8)).labels.shape == (1, 1)
    for size, words in (((1, 5000), '5000 pixels wide and 1 high'), ((5000, 1), '1 pixels wide and 5000 high')):
        with pytest.raises(BenchError, match=words):
            segmenter(np.zeros((*size, 3), np.uint8))
    assert segmenter(np.zeros((40, 900, 3), np.uint8)).labels.shape == (40, 900)
