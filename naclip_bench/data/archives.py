"""What lies in an archive or a folder, and its files taken out one by one, never outside the folder they belong to."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import BenchError
from ..files import link_or_copy, written_beside

CHUNK = 1 << 20

#: Links that are followed one after another, as many as Linux does.
MOST_LINKS = 40

#: What the readers of archives raise where bytes are missing or changed; each has errors of its own.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)


class Archive(ABC):
    """The files of an archive or a folder.

    ``files`` maps each file's path inside, parts joined by ``/``, to how it is read. Links to other files inside are
    files of their own; folders and links to folders are left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, object] = {}

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file as declared, unpacked."""

    @abstractmethod
    def read(self, name: str) -> IO[bytes]:
        """A file's bytes, unpacked."""

    @abstractmethod
    def save(self, name: str, target: Path, advance: Callable[[int], None]) -> None:
        """Bring a file to ``target``, all of it or nothing; ``advance`` is told the bytes written."""

    def in_order(self, names: Iterable[str]) -> list[str]:
        """In the order in which they are read fastest."""
        return sorted(names)

    def close(self) -> None:  # noqa: B027, a folder has nothing to close
        """Let go of the archive."""


class Folder(Archive):
    """A folder that was unpacked already; files are linked where the file system can."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = self._walk()

    def _walk(self) -> dict[str, Path]:
        seen, files = set(), {}
        for folder, below, names in os.walk(self.path, followlinks=True):
            # Datasets are often linked together; a link back up would be walked for ever.
            if (place := Path(folder).resolve()) in seen:
                below.clear()
                continue
            seen.add(place)
            below[:] = [name for name in below if not name.startswith('.')]
            relative = Path(folder).relative_to(self.path)
            files |= {(relative / name).as_posix(): Path(folder, name) for name in names}
        return files

    def size(self, name: str) -> int:
        return self.files[name].stat().st_size

    def read(self, name: str) -> IO[bytes]:
        return self.files[name].open('rb')

    def save(self, name: str, target: Path, advance: Callable[[int], None]) -> None:
        link_or_copy(self.files[name], target)
        advance(self.size(name))


class SingleFile(Folder):
    """A file that is no archive."""

    def _walk(self) -> dict[str, Path]:
        return {self.path.name: self.path}


class Packed(Archive):
    """An archive, looked through before anything of it is written.

    Raises:
        BenchError: a member would lie outside the folder, a link leads there, or a member is a device.
    """

    def add(self, members: Iterable[tuple[str, str, object, str]]) -> None:
        """Take members in: path, kind (file, folder, link or special), how to read it, and where a link leads."""
        links = {}
        for raw, kind, handle, leads_to in members:
            name = self._inside(raw)
            if kind == 'special':
                raise BenchError(f'{self.path} holds a device or a pipe, {raw}; no dataset does: it was not unpacked')
            if kind == 'file':
                self.files[name] = handle
            elif kind == 'link':
                links[name] = self._inside(leads_to, f'{raw} -> ')
        for name, target in links.items():
            for _ in range(MOST_LINKS):  # a link may lead to a link, and two to each other
                target = links.get(target, target)
            if target in self.files:
                self.files[name] = self.files[target]

    def _inside(self, raw: str, before: str = '') -> str:
        path = posixpath.normpath(raw.replace('\\', '/'))
        parts = raw.replace('\\', '/').split('/')
        # Of a link (``before``), '..' may stand between; of a name it has no business there.
        climbs = path.split('/')[0] == '..' if before else '..' in parts
        if path.startswith('/') or climbs or re.match('[A-Za-z]:', path):
            raise BenchError(f'{self.path} would write outside its folder ({before}{raw}); it was not unpacked')
        return path

    def save(self, name: str, target: Path, advance: Callable[[int], None]) -> None:
        declared = left = self.size(name)
        with written_beside(target, alone=True) as temporary, readable(self.path), temporary.open('wb') as out:
            with self.read(name) as stream:
                # One byte more than declared: a member may be larger than it says.
                while chunk := stream.read(min(CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise BenchError(f'{self.path}: {name} is larger than the {declared} bytes it says it has')
                    out.write(chunk)
                    advance(len(chunk))
            if left:
                raise EOFError(f'{name} is {left} bytes short')


class Zip(Packed):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with readable(self.path):
            self._zip = zipfile.ZipFile(self.path)
            self.add(map(self._member, self._zip.infolist()))

    def _member(self, info: zipfile.ZipInfo) -> tuple[str, str, object, str]:
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode == stat.S_IFLNK:
            target = self._zip.read(info).decode(errors='replace') if info.file_size < 4096 else ''
            return info.filename, 'link', info, _beside(info.filename, target)
        # Archives made under Windows have no mode.
        regular = mode in (0, stat.S_IFREG, stat.S_IFDIR)
        return info.filename, ('folder' if info.is_dir() else 'file') if regular else 'special', info, ''

    def size(self, name: str) -> int:
        return self.files[name].file_size

    def in_order(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: self.files[name].header_offset)

    def read(self, name: str) -> IO[bytes]:
        return self._zip.open(self.files[name])

    def close(self) -> None:
        self._zip.close()


class Tar(Packed):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with readable(self.path):
            self._tar = tarfile.open(self.path)  # noqa: SIM115
            self.add(map(self._member, self._tar.getmembers()))
            self._reach_the_end(self._tar.fileobj, self._tar.offset)

    @staticmethod
    def _reach_the_end(stream: IO[bytes], end: int) -> None:
        """See that the archive has its end, where tarfile itself is content with less."""
        if isinstance(stream, io.BufferedReader):
            stream.seek(end)
            if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise EOFError('its end is missing')
        else:  # compressed: the checksum stands behind everything
            while stream.read(CHUNK):
                pass

    def _member(self, info: tarfile.TarInfo) -> tuple[str, str, object, str]:
        if info.issym():
            return info.name, 'link', info, _beside(info.name, info.linkname)
        if info.islnk():
            return info.name, 'link', info, info.linkname
        return info.name, 'folder' if info.isdir() else 'file' if info.isreg() else 'special', info, ''

    def size(self, name: str) -> int:
        return self.files[name].size

    def in_order(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: self.files[name].offset)

    def read(self, name: str) -> IO[bytes]:
        return self._tar.extractfile(self.files[name])

    def close(self) -> None:
        self._tar.close()


def _beside(name: str, target: str) -> str:
    """Where a symbolic link at ``name`` leads, as a path in the archive."""
    return posixpath.join(posixpath.dirname(name), target)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Tell of an archive that cannot be read in one line."""
    try:
        yield
    except DAMAGED as error:
        raise BenchError(f'{path} is damaged or incomplete ({error}); delete it and get it again') from None
    except (RuntimeError, NotImplementedError) as error:  # a password, a compression that zipfile lacks
        raise BenchError(f'cannot unpack {path}: {error}; unpack it yourself and give the folder') from None


def open_archive(path: Path) -> Archive:
    """Look through an archive, a folder, or a file that stands for itself.

    Raises:
        BenchError: there is nothing at ``path``, or an archive is damaged or unsafe; nothing was written.
    """
    if path.is_dir():
        return Folder(path)
    try:
        with path.open('rb') as stream:
            magic = stream.read(2)
    except OSError as error:
        raise BenchError(f'cannot read {path}: {error.strerror}') from None
    # By their first bytes: a tar whose last member is a zip would pass for a zip by its end.
    if magic == b'PK':
        return Zip(path)
    if re.search(r'\.(tar|tgz|tar\.\w+)$', path.name) or tarfile.is_tarfile(path):
        return Tar(path)
    if path.suffix == '.zip':
        raise BenchError(f'{path} is no zip archive; get it again')
    return SingleFile(path)
