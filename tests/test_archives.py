"""What is needed of an archive comes out whole, and nothing of it ever lands outside its folder."""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from packing import FORMATS, files_below, pack, tar_member

from naclip_bench.data import unpacking
from naclip_bench.data.archives import Archive, Packed, open_archive
from naclip_bench.data.unpacking import find_files, unpack
from naclip_bench.errors import BenchError

WANTED = {'images/*.jpg': 2, 'masks/**/*.png|masks/**/*[a-f].json': 1}
SET = {
    'images/a.jpg': b'A' * 5000,
    'images/b.jpg': b'B' * 70_000,
    'masks/x/y/a.png': b'a',
    'masks/b.json': b'',
}
OTHERS = {
    'images/c.txt': b'c',
    'images/deeper/d.jpg': b'd',
    'readme.txt': b'r',
    'masks/e.mat': b'e',
    'masks/g.json': b'g',
}


def name_of(kind: str) -> str:
    return 'archive' if kind == 'folder' else f'archive.{kind}'


def take(path: Path, target: Path, folder: str = 'mine/set') -> None:
    contents = open_archive(path)
    unpack(contents, find_files(contents, WANTED, folder), target)
    contents.close()


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('around', ['', 'mine/set/', './', 'home/someone/renamed/'])
def test_what_is_needed_and_nothing_else(tmp_path, kind, around):
    members = {around + name: content for name, content in (SET | OTHERS).items()}
    take(pack(tmp_path / name_of(kind), members), tmp_path / 'out')
    assert files_below(tmp_path / 'out') == SET


def test_two_sets_in_one_archive_are_told_apart_by_the_official_name(tmp_path):
    twice = {f'all/{name}/{path}': name.encode() + path.encode() for name in ('set', 'other') for path in SET}
    path = pack(tmp_path / 'two.zip', twice)
    take(path, tmp_path / 'out')
    assert files_below(tmp_path / 'out') == {path: b'set' + path.encode() for path in SET}
    with pytest.raises(BenchError, match=r'two\.zip has the dataset twice, in all/set/ and all/other/'):
        take(path, tmp_path / 'no', folder='third')


def test_what_finder_adds_to_a_zip_is_no_second_set(tmp_path):
    junk = {f'__MACOSX/set/{path.replace("/", "/._")}': b'finder' for path in SET}
    take(pack(tmp_path / 'mac.zip', {f'set/{path}': content for path, content in SET.items()} | junk), tmp_path / 'out')
    assert files_below(tmp_path / 'out') == SET


def test_archive_of_something_else_and_one_with_too_few(tmp_path):
    contents = open_archive(pack(tmp_path / 'else.tar', OTHERS))
    assert find_files(contents, WANTED, '') is None
    few = open_archive(pack(tmp_path / 'few.zip', {'s/images/a.jpg': b'', 's/masks/a.png': b''}))
    with pytest.raises(BenchError, match=r'few\.zip holds 1 of the 2 files s/images/\*\.jpg; get it again'):
        find_files(few, WANTED, '')


def test_unpacked_folder_is_linked_not_copied(tmp_path):
    take(pack(tmp_path / 'archive', SET), tmp_path / 'out')
    assert (tmp_path / 'out/images/a.jpg').samefile(tmp_path / 'archive/images/a.jpg')


def test_folder_that_is_linked_into_itself_is_walked_once(tmp_path):
    folder = pack(tmp_path / 'archive', SET)
    (folder / 'images' / 'again').symlink_to(folder)
    assert open_archive(folder).files.keys() == SET.keys()


# ---- what would leave the folder


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, 'w') as archive:
        for name, content in SET.items():
            archive.addfile(tar_member(name, size=len(content)), io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(b'evil') if member.isreg() else None)
    return path


def zip_of(path: Path, name: str, content: bytes = b'evil', mode: int = 0) -> Path:
    with zipfile.ZipFile(pack(path, SET), 'a') as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return path


def refused(path: Path, tmp_path: Path, match: str) -> None:
    before = files_below(tmp_path)
    with pytest.raises(BenchError, match=match):
        take(path, tmp_path / 'deep' / 'out')
    assert files_below(tmp_path) == before


@pytest.mark.parametrize('name', ['../evil.jpg', 'images/../../evil.jpg', '/tmp/evil.jpg', 'images\\..\\..\\evil.jpg'])
@pytest.mark.parametrize('kind', ['tar', 'zip'])
def test_names_that_lead_outside(tmp_path, kind, name):
    path = tmp_path / f'evil.{kind}'
    path = tar_of(path, tar_member(name, size=4)) if kind == 'tar' else zip_of(path, name)
    refused(path, tmp_path, r'evil\.\w+ would write outside its folder \(.*evil\.jpg\); it was not unpacked')


def test_drive_letter(tmp_path):
    refused(zip_of(tmp_path / 'evil.zip', 'C:/evil.jpg'), tmp_path, 'outside its folder')


@pytest.mark.parametrize(
    ('kind', 'leads_to'),
    [
        pytest.param(tarfile.SYMTYPE, '../../evil', id='symbolic'),
        pytest.param(tarfile.SYMTYPE, '/etc/passwd', id='absolute'),
        pytest.param(tarfile.LNKTYPE, '../evil', id='hard'),
    ],
)
def test_tar_links_that_lead_outside(tmp_path, kind, leads_to):
    path = tar_of(tmp_path / 'evil.tar', tar_member('images/c.jpg', kind, leads_to))
    refused(path, tmp_path, rf'outside its folder \(images/c.jpg -> .*{leads_to}\)')


def test_zip_link_that_leads_outside(tmp_path):
    path = zip_of(tmp_path / 'evil.zip', 'images/c.jpg', b'../../evil', stat.S_IFLNK | 0o777)
    refused(path, tmp_path, 'outside its folder')


@pytest.mark.parametrize('kind', [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_a_tar(tmp_path, kind):
    refused(tar_of(tmp_path / 'evil.tar', tar_member('images/c.jpg', kind)), tmp_path, 'a device or a pipe, images/c')


def test_device_in_a_zip(tmp_path):
    path = zip_of(tmp_path / 'evil.zip', 'images/c.jpg', mode=stat.S_IFBLK | 0o600)
    refused(path, tmp_path, 'a device or a pipe')


def test_links_inside_are_files_of_their_own(tmp_path):
    path = tar_of(
        tmp_path / 'links.tar',
        tar_member('images/c.jpg', tarfile.SYMTYPE, '../masks/../images/d.jpg'),
        tar_member('images/d.jpg', tarfile.LNKTYPE, 'images/a.jpg'),
        tar_member('images/lost.jpg', tarfile.SYMTYPE, 'nowhere.jpg'),
        tar_member('images/circle.jpg', tarfile.SYMTYPE, 'circle.jpg'),
    )
    take(path, tmp_path / 'tar')
    take(zip_of(tmp_path / 'l.zip', 'images/c.jpg', b'b.jpg', stat.S_IFLNK | 0o777), tmp_path / 'zip')
    extra = {f'images/{name}.jpg': SET['images/a.jpg'] for name in 'cd'}
    assert files_below(tmp_path / 'tar') == SET | extra
    assert files_below(tmp_path / 'zip') == SET | {'images/c.jpg': SET['images/b.jpg']}
    assert not any(path.is_symlink() for path in tmp_path.rglob('*'))


# ---- damage, and archives that lie


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz'])
@pytest.mark.parametrize('part', [0.3, 0.7, 'end'])
def test_cut_archive(tmp_path, kind, part):
    whole = pack(tmp_path / f'cut.{kind}', {name: content * 40 for name, content in (SET | OTHERS).items()})
    content = whole.read_bytes()
    # A tar is padded with zeros up to its last member, without which tarfile is content.
    length = len(content.rstrip(b'\0')) // 512 * 512 + 512 if kind == 'tar' else len(content) - 1
    whole.write_bytes(content[: length if part == 'end' else int(part * length)])
    refused(whole, tmp_path, rf'cut\.{kind} is damaged or incomplete \(.*\); delete it and get it again')


def test_changed_bytes_leave_no_half_file(tmp_path):
    path = pack(tmp_path / 'changed.zip', {name: content or b'1' for name, content in SET.items()})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo('images/b.jpg')
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(info.filename) + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BenchError, match='damaged or incomplete'):
        take(path, tmp_path / 'out')
    assert files_below(tmp_path / 'out') == {'images/a.jpg': SET['images/a.jpg']}


@pytest.mark.parametrize('says', [4_999, 5_001])
def test_zip_that_lies_about_a_size(tmp_path, says):
    path = pack(tmp_path / 'lie.zip', SET)
    content = path.read_bytes()
    place = content.index(b'PK\x01\x02') + 24  # of the size in the first entry of the directory
    assert content[place : place + 4] == (5000).to_bytes(4, 'little')
    path.write_bytes(content[:place] + says.to_bytes(4, 'little') + content[place + 4 :])
    with pytest.raises(BenchError, match=r'lie\.zip is damaged or incomplete'):
        take(path, tmp_path / 'out')
    assert not files_below(tmp_path / 'out')


def test_member_larger_than_declared_is_cut_off(tmp_path, monkeypatch):
    """Whatever reads the archive: no more is written than was declared."""
    monkeypatch.setattr(Packed, 'size', lambda self, name: 3, raising=False)
    path = pack(tmp_path / 'more.zip', SET)
    contents = open_archive(path)
    monkeypatch.setattr(type(contents), 'size', lambda self, name: 3)
    with pytest.raises(BenchError, match=r'images/a\.jpg is larger than the 3 bytes it says it has'):
        unpack(contents, {'a': 'images/a.jpg'}, tmp_path / 'out')
    assert not files_below(tmp_path / 'out')


def test_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, 'BOMB_BYTES', 10**6)
    path = pack(tmp_path / 'bomb.zip', SET | {'images/c.jpg': bytes(5_000_000)})
    refused(path, tmp_path, r'bomb\.zip says it holds 5\.1 MB, 100 times its size; not unpacked')


@pytest.mark.parametrize(
    ('name', 'content'), [('a.zip', b'<html>'), ('a.tar', b'<html>' * 99), ('a.tar.gz', b''), ('a.tar', b'')]
)
def test_file_that_is_no_archive(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, tmp_path, f'{name} (is no zip archive|is damaged)')


def test_single_file_stands_for_itself(tmp_path):
    path = tmp_path / 'merged.json'
    path.write_text('{}')
    assert find_files(open_archive(path), {'merged.json|mats/*.mat': 1}, '') == {'merged.json': 'merged.json'}


def test_encrypted_zip(tmp_path):
    path = pack(tmp_path / 'secret.zip', SET)
    content = bytearray(path.read_bytes())
    for place in (6, content.index(b'PK\x01\x02') + 8):
        content[place] |= 1
    path.write_bytes(content)
    refused(path, tmp_path, r'cannot unpack .*secret\.zip: .*; unpack it yourself and give the folder')


# ---- going on


@pytest.mark.parametrize('kind', FORMATS)
def test_interrupted_unpacking_goes_on(tmp_path, kind, monkeypatch):
    path = pack(tmp_path / name_of(kind), SET)
    kind_of = type(open_archive(path))
    save, saved = kind_of.save, []

    def save_two(self: Archive, name: str, *more: object) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(name)
        save(self, name, *more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kind_of, 'save', save_two)
        take(path, tmp_path / 'out')
    out = tmp_path / 'out'
    assert len(files_below(out)) == 2
    half = out / 'images' / 'a.jpg'
    half.parent.mkdir(parents=True, exist_ok=True)
    half.unlink(missing_ok=True)
    half.with_name('a.jpg.tmp').write_bytes(b'what a killed process leaves')
    times = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file() and path.suffix != '.tmp'}
    take(path, out)
    assert files_below(out) == SET
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_full_disk_is_seen_before_the_first_file(tmp_path, monkeypatch, capfd):
    usage = namedtuple('usage', 'total used free')(10**9, 0, 75_000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    path = pack(tmp_path / 'a.zip', SET)
    refused(path, tmp_path, r'the disk is too full for a\.zip: 4 files, 75\.0 kB, to .*out \(75\.0 kB are free\)')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=75_001))
    take(path, tmp_path / 'out')
    assert capfd.readouterr().out == f'a.zip: 4 files, 75.0 kB, to {tmp_path / "out"} (75.0 kB are free)\n'
