"""Files that are whole or not there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from .errors import BenchError, disk_fault

JPEG, PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'

#: The next marker of a JPEG; a 0 behind 0xff is a byte of the image, and restarts stand between its rows.
MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')
END_OF_IMAGE = 0xD9
#: Markers without a length behind them.
ALONE = {0x01, 0xD8}


class FileError(BenchError):
    """An image or a mask that cannot be used.

    Attributes:
        kind: what is wrong in a word, for those who count: unreadable, truncated, lossy, of colors.
        detail: what else is to be said of this file.
    """

    def __init__(self, message: str, kind: str = '', detail: str = '') -> None:
        super().__init__(message)
        self.kind, self.detail = kind, detail


class CannotWriteError(BenchError, OSError):
    """A file that the disk refuses; an ``OSError`` too, for those who go on without the file."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell of a file that cannot be written in one line.

    Raises:
        CannotWriteError: the disk is full or read-only, or there is no permission; names ``path``.
    """
    try:
        yield
    except OSError as error:
        fault, is_here = disk_fault(error), _is_at(error.filename, path)
        # What is full or read-only is written; any other error may be about a file that is read.
        if not is_here and (fault is None or isinstance(error, PermissionError)):
            raise
        raise CannotWriteError(f'cannot write {path}: {fault or error.strerror}') from None


def _is_at(name: object, path: Path) -> bool:
    """True for the name of ``path``, of a temporary file beside it, or of a folder around it."""
    if not isinstance(name, str):
        return False
    there = Path(name)
    return there in path.parents or (there.parent == path.parent and there.name.startswith(path.name))


@contextmanager
def written_beside(path: Path, alone: bool = False) -> Iterator[Path]:
    """A temporary file to write; it gets the name ``path`` once it is whole, and is deleted where that fails.

        with written_beside(Path('table.md')) as temporary:
            temporary.write_text(table, encoding='utf-8')

    Args:
        path: what it becomes; a file of that name is replaced at once, so that no half is ever seen.
        alone: no other process writes ``path``: what an interrupted one left is written over by the next. Otherwise
            the temporary name is one that no process has, be it in another container.

    Raises:
        CannotWriteError: the disk is full or read-only, or there is no permission; names ``path``.
    """
    temporary = path.with_name(f'{path.name}.tmp' if alone else f'{path.name}.{uuid.uuid4().hex}.tmp')
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def make_folder(option: str, folder: Path | None) -> None:
    """Make the folder that an option names, before anything slow begins.

    Raises:
        BenchError: it cannot be made, or not be written into.
    """
    if folder is None:
        return
    try:
        what = 'make'
        folder.mkdir(parents=True, exist_ok=True)
        what = 'write into'
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        why = disk_fault(error) or error.strerror
        raise BenchError(f'{option}: cannot {what} the folder {folder}: {why}') from None


def is_truncated(content: bytes) -> bool:
    """True for a JPEG or PNG that does not reach its end; what stands behind the end is of no account.

    Decoders fill the rest of a truncated one with gray and say nothing.
    """
    if content.startswith(JPEG):
        return not (content.endswith(b'\xff\xd9') or _has_end_of_jpeg(content))
    if content.startswith(PNG):
        return not _has_end_of_png(content)
    return False


def _has_end_of_jpeg(content: bytes) -> bool:
    # Marker by marker: a thumbnail in a segment before the image has an end of its own.
    place = len(JPEG)
    while marker := MARKER.search(content, place):
        place = marker.end()
        kind = content[place - 1]
        if kind == END_OF_IMAGE:
            return True
        if kind not in ALONE:
            place += int.from_bytes(content[place : place + 2], 'big')
    return False


def _has_end_of_png(content: bytes) -> bool:
    place = len(PNG)
    while place + 12 <= len(content):
        kind = content[place + 4 : place + 8]
        place += 12 + int.from_bytes(content[place : place + 4], 'big')
        if kind == b'IEND':
            return place <= len(content)
    return False


def read_file(path: str, what: str) -> bytes:
    """The whole of a file.

    Raises:
        FileError: it cannot be read, or is truncated.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f'cannot read the {what} {path}: {error.strerror}', 'unreadable', error.strerror) from None
    if is_truncated(content):
        raise FileError(f'the {what} {path} is truncated; copy it again from its archive', 'truncated')
    return content


def output_path(folder: Path, name: str, suffix: str) -> Path:
    """Where in ``folder`` something is written for the image ``name``; never outside, whatever the name says.

    >>> output_path(Path('drawn'), '../b/c', '.png').as_posix()
    'drawn/%2E%2E/b/c.png'
    """
    path = PurePath(f'{name}{suffix}')
    parts = [{'..': '%2E%2E', path.anchor: '%2F'}.get(part, part) for part in path.parts]
    return folder.joinpath(*parts)


def link_or_copy(source: Path, target: Path) -> None:
    """``source`` under another name, sharing its bytes on the disk where the file system can."""
    with written_beside(target, alone=True) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
