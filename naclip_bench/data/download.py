"""A file from the web: continued where it broke off, compared with its checksum, complete or not there at all.

Continuing follows RFC 9110, sections 13 and 14: ``Range`` asks for the rest, ``If-Range`` for all of it where the file
has changed since.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ..console import amount
from ..errors import BenchError
from ..files import writing, written_beside
from .byte_progress import byte_progress

CHUNK = 1 << 20

#: Seconds without a byte after which a server counts as lost.
TIMEOUT = 60.0

#: Seconds before each further try; whenever bytes have come, all tries are there again.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)

#: Answers that another try may change: timeouts, too many requests, a server's own errors.
PASSING = {408, 425, 429, 500, 502, 503, 504}


CHANGED = 'the file on the server is another now; starting again'


class _InterruptedError(Exception):
    """The transfer ended early; what came is kept."""


class _UnknownHostError(_InterruptedError):
    """The host's name leads nowhere."""


def state_of(target: Path) -> Path:
    """What is known about a download, beside it: URL, the server's name for this version of the file, size in bytes.

    It shows that the file came from here, and no one put it there by hand.
    """
    return target.with_name(f'{target.name}.json')


def download(url: str, target: Path, md5: str = '') -> None:
    """Bring a file to ``target``, unless it is there; an interrupted download is continued by the next call.

    Args:
        url: http or https.
        target: takes its name when it is complete and has the checksum.
        md5: hexadecimal, empty where none is known for sure.

    Raises:
        BenchError: the host is unknown, which is said at once; the file is not on the server, the server is lost, the
            disk is too full, or the checksum is another.
    """
    part = target if target.is_file() else target.with_name(f'{target.name}.part')
    tries, most = 0, _size(part)
    while part != target:
        try:
            _fetch(url, target.name, part, state_of(target))
            break
        except _InterruptedError as error:
            reason = error
        if isinstance(reason, _UnknownHostError) and not tries:
            # Later, when the host has been reached, it is one more way for a connection to break.
            raise BenchError(f'{url}: {reason}')
        tries, most = (1, _size(part)) if _size(part) > most else (tries + 1, most)
        if tries > len(PAUSES):
            raise BenchError(f'{url}: {reason}; tried {tries} times; run the command again to go on')
        print(f'{target.name}: {reason}; trying again', flush=True)
        time.sleep(PAUSES[tries - 1])
    came = _md5(part)
    if not md5:
        print(f'{target.name}: md5 {came}, compared with nothing: no checksum is known for sure', flush=True)
    elif came == md5:
        print(f'{target.name}: md5 {md5}, as published', flush=True)
    elif part == target:
        raise BenchError(f'{target} has md5 {came}, not {md5}: it is another file, or damaged; move it away')
    else:
        part.unlink()
        raise BenchError(f'{url} gave a file of md5 {came}, not {md5}: it was deleted; run the command again')
    part.replace(target)


def _fetch(url: str, name: str, part: Path, state_path: Path) -> None:
    """Write what is missing to ``part``."""
    state = _read_state(state_path, url)
    have = _size(part) if state.get('version') else 0
    if have and have == state['size']:
        return
    headers = {'User-Agent': 'naclip_bench', 'Accept-Encoding': 'identity'}
    if have:
        headers |= {'Range': f'bytes={have}-', 'If-Range': state['version']}
    request = Request(url, headers=headers)
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # there is no such rest: what we have is of another file
            part.unlink()
            raise _InterruptedError(CHANGED) from None
        if error.code in PASSING:
            raise _InterruptedError(f'the server answers {error.code} {error.reason}') from None
        raise BenchError(f'{url}: the server answers {error.code} {error.reason}') from None
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, 'reason', error), socket.gaierror):
            # Of the request, which knows the proxy's where there is one.
            raise _UnknownHostError(f'the host name {request.host} does not resolve (is there a network?)') from None
        raise _InterruptedError(_words(error)) from None
    with response:
        if response.headers.get_content_type() == 'text/html':
            raise BenchError(f'{url}: the server answers with a web page in place of the file')
        if have and response.status == 206:
            if _range(response) != (have, state['size']) or _version(response) not in ('', state['version']):
                part.unlink()
                raise _InterruptedError(CHANGED)
        else:
            have = 0
            part.unlink(missing_ok=True)
            length = response.headers.get('Content-Length')
            state = {'url': url, 'version': _version(response), 'size': int(length) if length else None}
            with written_beside(state_path, alone=True) as temporary:
                temporary.write_text(json.dumps(state), encoding='utf-8')
        size, free = state['size'], shutil.disk_usage(part.parent).free
        if size and size - have > free:
            raise BenchError(f'the disk is too full for {name}: {amount(size - have)}, but {amount(free)} are free')
        if have:
            print(f'{name}: going on at {amount(have)} of {amount(size)}', flush=True)
        with writing(part), part.open('ab') as out, byte_progress(f'downloading {name}', size, have) as advance:
            while chunk := _read(response):
                out.write(chunk)
                advance(len(chunk))
    if size is not None and _size(part) != size:
        raise _InterruptedError(f'broke off at {amount(_size(part))} of {amount(size)}')


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _InterruptedError(_words(error)) from None


def _words(error: Exception) -> str:
    return str(getattr(error, 'reason', None) or error or type(error).__name__)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_state(path: Path, url: str) -> dict:
    try:
        state = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return state if state.get('url') == url else {}


def _version(response: HTTPResponse) -> str:
    """The name of this very content, fit for ``If-Range``: a strong ETag, or when it was last changed."""
    tag = response.headers.get('ETag', '')
    return tag if tag.startswith('"') else response.headers.get('Last-Modified', '')


def _range(response: HTTPResponse) -> tuple[int, int] | None:
    """First byte that comes, and bytes in all."""
    match = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
    return (int(match[1]), int(match[2])) if match else None


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open('rb') as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
