"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchError, disk_fault

#: What the last bytes of a whole file hold; decoders fill the rest of a truncated one with gray and say nothing.
END_MARKERS = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}


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
    """True for a JPEG or PNG that does not reach its end."""
    end = END_MARKERS.get(content[:2])
    return end is not None and end not in content[-1024:]


def read_file(path: str, what: str) -> bytes:
    """The whole of a file.

    Raises:
        BenchError: it cannot be read, or is truncated.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BenchError(f'cannot read the {what} {path}: {error.strerror}') from None
    if is_truncated(content):
        raise BenchError(f'the {what} {path} is truncated; copy it again from its archive')
    return content


def link_or_copy(source: Path, target: Path) -> None:
    """``source`` under another name, sharing its bytes on the disk where the file system can."""
    with written_beside(target, alone=True) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
