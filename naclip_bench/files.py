"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchError

#: What the last bytes of a whole file hold; decoders fill the rest of a truncated one with gray and say nothing.
END_MARKERS = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}


@contextmanager
def written_beside(path: Path, alone: bool = False) -> Iterator[Path]:
    """A temporary file to write; it gets the name ``path`` once it is whole, and is deleted where that fails.

    Args:
        path: what it becomes; a file of that name is replaced at once, so that no half is ever seen.
        alone: no other process writes ``path``: what an interrupted one left is written over by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.tmp' if alone else f'{path.name}.{os.getpid()}.tmp')
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
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(f'{option}: cannot make the folder {folder}: {error.strerror}') from None
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BenchError(f'{option}: cannot write into the folder {folder}: {error.strerror}') from None


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
