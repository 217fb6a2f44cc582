"""Whole and truncated files told apart, and outputs that stay in their folder."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from naclip_bench.files import is_truncated, output_path


def encoded(name: str, **options: object) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, name, **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with a whole JPEG, and so an end marker, in a segment before its own pixels."""
    inner, outer = b'Exif\0\0' + encoded('JPEG', quality=5), encoded('JPEG')
    return outer[:2] + b'\xff\xe1' + (len(inner) + 2).to_bytes(2, 'big') + inner + outer[2:]


IMAGES = {
    'jpeg': encoded('JPEG'),
    'progressive': encoded('JPEG', progressive=True),
    'restarts': encoded('JPEG', restart_marker_blocks=1),
    'thumbnail': with_thumbnail(),
    'png': encoded('PNG'),
}


@pytest.mark.parametrize('kind', IMAGES)
@pytest.mark.parametrize('behind', [b'', b'\0' * 5000, b'\xff\xd8 a second image', b'\xff' * 3000], ids=len)
def test_bytes_behind_the_end_are_of_no_account(kind, behind):
    assert not is_truncated(IMAGES[kind] + behind)


@pytest.mark.parametrize('kind', IMAGES)
def test_truncated_wherever_it_is_cut(kind):
    content = IMAGES[kind]
    cuts = [*range(8, len(content), 97), *range(len(content) - 12, len(content))]
    # Cut right behind the thumbnail's end, the last bytes are an end marker, yet no decoder finds the image.
    assert [cut for cut in cuts if not is_truncated(content[:cut])] == []


def test_cut_behind_a_thumbnail():
    content = IMAGES['thumbnail']
    assert is_truncated(content[: content.index(b'\xff\xd9') + 100])


@given(st.text('ab./\\~ %', min_size=1, max_size=12).filter(lambda name: name.strip('./')))
@example('../../a')
@example('/etc/a')
@example('a/../../b')
def test_outputs_stay_in_their_folder(name):
    path = output_path(Path('/out/drawn'), name, '.png')
    assert '..' not in path.parts and path.is_relative_to('/out/drawn') and path != Path('/out/drawn')
    if '..' not in Path(name).parts and not name.startswith('/'):
        assert path == Path('/out/drawn') / f'{name}.png'


def test_images_of_two_folders_stay_apart():
    names = ['../a', 'a', '/a', '../../a', 'b/../a']
    assert len({output_path(Path('out'), name, '.png') for name in names}) == len(names)
