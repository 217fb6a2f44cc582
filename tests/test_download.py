"""A download is complete or not there, and never of two files."""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import socket
import time
import urllib.request
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import pytest
from packing import Served, serving

from naclip_bench.data import download as module
from naclip_bench.data.download import download, state_of
from naclip_bench.errors import BenchError

CONTENT = random.Random(0).randbytes(3_000_000)
OTHER = random.Random(1).randbytes(3_000_000)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, 'PAUSES', (0.0, 0.0))


@pytest.fixture
def served():
    with serving(Served(CONTENT)) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / 'downloads' / 'archive.zip'


def leave_a_part(served: Served, target: Path, size: int) -> None:
    """An interrupted download of ``size`` bytes."""
    served.cuts, served.codes = [size], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'PAUSES', ())
        with pytest.raises(BenchError, match=r'broke off at .* run the command again'):
            download(served.url, target)
    assert not target.exists() and target.with_name('archive.zip.part').read_bytes() == served.content[:size]
    served.asked.clear()


def test_whole_file_with_its_checksum(served, target, capfd):
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT
    assert sorted(path.name for path in target.parent.iterdir()) == ['archive.zip', 'archive.zip.json']
    assert capfd.readouterr().out == f'archive.zip: md5 {md5(CONTENT)}, as published\n'
    download(served.url, target, md5(CONTENT))
    assert len(served.asked) == 1


def test_checksum_that_nobody_knows_is_said_to_be_compared_with_nothing(served, target, capfd):
    download(served.url, target)
    assert f'md5 {md5(CONTENT)}, compared with nothing' in capfd.readouterr().out


def test_connection_that_breaks_off_is_continued_where_it_was(served, target, capfd):
    served.cuts = [1_200_000, 700_000]
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [request.get('Range') for request in served.asked] == [None, 'bytes=1200000-', 'bytes=1900000-']
    assert [request.get('If-Range') for request in served.asked] == [None, '"one"', '"one"']
    assert served.sent == len(CONTENT)
    assert 'broke off at 1.2 MB of 3.0 MB; trying again' in capfd.readouterr().out


def test_the_next_run_continues(served, target):
    leave_a_part(served, target, 2_000_000)
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [request.get('Range') for request in served.asked] == ['bytes=2000000-']


def test_all_bytes_but_not_yet_the_name(served, target):
    """Killed between the last byte and the renaming."""
    leave_a_part(served, target, 2_000_000)
    target.with_name('archive.zip.part').write_bytes(CONTENT)
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT and not served.asked


@pytest.mark.parametrize('if_range', [True, False], ids=['told by the server', 'seen by us'])
def test_file_that_has_changed_since_begins_again(served, target, if_range):
    leave_a_part(served, target, 2_000_000)
    served.content, served.etag, served.if_range = OTHER, '"two"', if_range
    download(served.url, target)
    assert target.read_bytes() == OTHER


def test_file_that_is_shorter_now_begins_again(served, target):
    leave_a_part(served, target, 2_000_000)
    served.content, served.if_range = OTHER[:1_000_000], False
    download(served.url, target)
    assert target.read_bytes() == OTHER[:1_000_000]


@pytest.mark.parametrize(
    ('etag', 'modified', 'asks_with'),
    [
        pytest.param('W/"weak"', 'Tue, 01 Sep 2020 10:00:00 GMT', 'Tue, 01 Sep 2020 10:00:00 GMT', id='weak ETag'),
        pytest.param('', '', None, id='nothing that tells versions apart'),
    ],
)
def test_what_tells_that_the_file_is_the_same(served, target, etag, modified, asks_with):
    served.etag, served.modified = etag, modified
    leave_a_part(served, target, 2_000_000)
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [request.get('If-Range') for request in served.asked] == [asks_with]


def test_server_that_knows_no_ranges_begins_again(served, target):
    served.ranges = False
    leave_a_part(served, target, 2_000_000)
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT


def test_part_of_another_address_is_not_continued(served, target):
    leave_a_part(served, target, 2_000_000)
    served.content = OTHER
    download(f'{served.url}?other', target)
    assert target.read_bytes() == OTHER and 'Range' not in served.asked[0]


@pytest.mark.parametrize('ending', ['whole', 'continued'])
def test_wrong_checksum_is_refused(served, target, ending):
    if ending == 'continued':
        leave_a_part(served, target, 2_000_000)
    with pytest.raises(BenchError, match=rf'md5 {md5(CONTENT)}, not {md5(OTHER)}: it was deleted'):
        download(served.url, target, md5(OTHER))
    assert not target.exists() and not target.with_name('archive.zip.part').exists()


def test_file_put_there_by_hand_is_compared_and_never_deleted(served, target):
    target.parent.mkdir()
    target.write_bytes(OTHER)
    with pytest.raises(BenchError, match='another file, or damaged; move it away'):
        download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == OTHER and not served.asked
    download(served.url, target, md5(OTHER))
    assert not state_of(target).exists()


def test_passing_errors_are_tried_again(served, target):
    served.codes = [503, 429]
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT and len(served.asked) == 3


def test_a_server_that_stays_down_ends_in_one_line(served, target):
    served.codes = [500] * 9
    with pytest.raises(BenchError, match=r'answers 500 .*; tried 3 times; run the command again to go on$'):
        download(served.url, target)
    assert len(served.asked) == 3


def test_connection_that_always_breaks_at_the_same_byte_ends(served, target):
    """Without versions each try begins at zero: bytes that come again are no progress."""
    served.etag, served.cuts = '', [1000] * 50
    with pytest.raises(BenchError, match='tried 3 times'):
        download(served.url, target)
    assert len(served.asked) == 3


def test_file_that_is_not_there_is_asked_for_once(served, target):
    served.codes = [404] * 3
    with pytest.raises(BenchError, match=r'^http://\S+: the server answers 404 Not Found$'):
        download(served.url, target)
    assert len(served.asked) == 1 and not target.exists()


def test_web_page_in_place_of_the_file(served, target):
    served.kind = 'text/html; charset=utf-8'
    with pytest.raises(BenchError, match='a web page in place of the file'):
        download(served.url, target)
    assert not target.parent.exists()


def test_nobody_listens(target):
    with serving(Served(b'')) as served:
        pass
    with pytest.raises(BenchError, match='refused; tried 3 times'):
        download(served.url, target)


@pytest.mark.parametrize('proxy', [False, True])
def test_host_that_is_not_known_is_asked_for_once(target, monkeypatch, proxy):
    asked = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    monkeypatch.setattr(time, 'sleep', lambda _: pytest.fail('it waits'))
    monkeypatch.setattr(urllib.request, '_opener', None)  # which knows the proxies of when it was made
    for name in ('http_proxy', 'HTTP_PROXY', 'no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv('http_proxy', 'http://proxy.test:3128')
    host = 'proxy.test' if proxy else 'archives.test'
    message = rf'^http://archives\.test/a\.zip: the host name {host}(:3128)? does not resolve \(is there a network\?\)$'
    with pytest.raises(BenchError, match=message):
        download('http://archives.test/a.zip', target)
    assert asked == [host] and not target.parent.exists()


def test_name_that_is_lost_on_the_way_is_asked_for_again(served, target, monkeypatch):
    real, answers = socket.getaddrinfo, ['known', 'unknown', 'known']

    def flaky(*arguments: object, **options: object) -> object:
        if answers.pop(0) == 'unknown':
            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
        return real(*arguments, **options)

    monkeypatch.setattr(socket, 'getaddrinfo', flaky)
    served.cuts = [1_000_000]
    download(served.url, target, md5(CONTENT))
    assert target.read_bytes() == CONTENT and not answers


def test_disk_that_fills_up_on_the_way(served, target, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(module, 'byte_progress', lambda *_: nullcontext(full))
    with pytest.raises(BenchError, match=r'^cannot write \S+/archive\.zip\.part: the disk is full; free some space'):
        download(served.url, target)
    assert len(served.asked) == 1


def test_disk_that_is_too_full_is_seen_before_the_first_byte(served, target, monkeypatch):
    usage = namedtuple('usage', 'total used free')(10**9, 0, 1_000_000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(BenchError, match=r'too full for archive.zip: 3.0 MB, but 1.0 MB are free'):
        download(served.url, target)
    assert not target.with_name('archive.zip.part').exists()
