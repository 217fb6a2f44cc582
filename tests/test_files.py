"""Files are whole or not there, whoever writes beside, and a disk that refuses is one line."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from naclip_bench.errors import BenchError
from naclip_bench.files import CannotWriteError, link_or_copy, make_folder, writing, written_beside


def test_two_that_write_one_file_at_once_do_not_meet(tmp_path, monkeypatch):
    """As in two containers, whose processes have the same ids."""
    monkeypatch.setattr(os, 'getpid', lambda: 7)
    path = tmp_path / 'table.md'
    with written_beside(path) as first:
        first.write_text('first')
        with written_beside(path) as second:
            second.write_text('second')
        assert first.read_text() == 'first' and path.read_text() == 'second'
    assert path.read_text() == 'first' and list(tmp_path.iterdir()) == [tmp_path / 'table.md']


def test_what_an_interrupted_one_left_is_written_over(tmp_path):
    (tmp_path / 'mask.png.tmp').write_text('half')
    with written_beside(tmp_path / 'mask.png', alone=True) as temporary:
        assert temporary.name == 'mask.png.tmp' and not temporary.exists()
        temporary.write_text('whole')
    assert list(tmp_path.iterdir()) == [tmp_path / 'mask.png']


@pytest.mark.parametrize(
    ('code', 'mend'),
    [
        ('ENOSPC', 'the disk is full; free some space'),
        ('EDQUOT', 'the quota is used up; free some space'),
        ('EROFS', 'the disk is read-only; write elsewhere'),
    ],
)
def test_disk_that_refuses(tmp_path, code, mend):
    path = tmp_path / 'new' / 'result.json'
    with pytest.raises(BenchError) as caught, written_beside(path) as temporary:
        temporary.write_text('half')
        raise OSError(getattr(errno, code), 'as a write says it, without a name')
    assert str(caught.value).startswith(f'cannot write {path}: {mend}')
    assert not list(path.parent.iterdir())
    # It comes from other processes, and whoever can go on without the file does.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with suppress(OSError):
        raise caught.value


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='/dev/full is of Linux')
def test_real_disk_that_is_full():
    message = r'^cannot write /dev/full: the disk is full; '
    with pytest.raises(BenchError, match=message), writing(Path('/dev/full')):
        Path('/dev/full').write_text('x')


def test_folder_without_permission(tmp_path, monkeypatch):
    """Made up, since the superuser may write anywhere."""

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, 'Permission denied', str(self.parent))

    monkeypatch.setattr(Path, 'mkdir', refuse)
    with pytest.raises(BenchError, match=r'^cannot write \S+/a/b\.png: there is no permission; change the rights'):
        written_beside(tmp_path / 'a' / 'b.png').__enter__()
    with pytest.raises(BenchError, match=r'^--out: cannot make the folder \S+/a: there is no permission; '):
        make_folder('--out', tmp_path / 'a')


def test_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / 'a').write_text('')
    with pytest.raises(BenchError, match=r'^cannot write \S+/a/b\.png: File exists$'):
        written_beside(tmp_path / 'a' / 'b.png').__enter__()


def test_file_that_cannot_be_read_is_not_called_one_that_cannot_be_written(tmp_path, monkeypatch):
    """The two have one name, in two folders."""
    source, target = tmp_path / 'given' / 'a.jpg', tmp_path / 'data' / 'a.jpg'

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, 'Permission denied', str(source))

    monkeypatch.setattr(os, 'link', refuse)
    monkeypatch.setattr('shutil.copyfile', refuse)
    with pytest.raises(PermissionError) as caught:
        link_or_copy(source, target)
    assert not isinstance(caught.value, CannotWriteError) and caught.value.filename == str(source)


@pytest.mark.skipif(sys.platform == 'win32', reason='links need a right of their own')
def test_copied_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    (tmp_path / 'a.jpg').write_bytes(b'a')
    link_or_copy(tmp_path / 'a.jpg', tmp_path / 'data' / 'a.jpg')
    assert (tmp_path / 'data' / 'a.jpg').read_bytes() == b'a'
