"""What files hold, told by a hash and read once: a number stands on the content of files, not on their names."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from .cache import cache_folder
from .errors import BenchError

#: A file changed less than so many seconds ago may change again without its time telling.
SETTLED = 2.0

#: What tells whether a file is the one that was hashed: size, and times of the last change of content and of inode.
Stamp = tuple[int, int, int]


def file_digests(paths: Sequence[str]) -> list[str]:
    """Hash files, each once as long as its size and times stay: what is known is kept in the cache folder.

    Raises:
        BenchError: a file cannot be read.
    """
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 (a Path of each costs as much as the rest)
    stamps = dict(zip(absolute, map(_stamp, absolute), strict=True))
    known = _known(stamps)
    missing = [path for path in stamps if path not in known]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(missing, pool.map(_digest, missing), strict=True))
    now = time.time_ns()
    settled = {path for path in missing if now - max(stamps[path][1:]) > SETTLED * 1e9}
    _keep([(path, *stamps[path], found[path]) for path in settled])
    known |= found
    return [known[path] for path in absolute]


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise BenchError(f'cannot read {path}: {error.strerror}') from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: str) -> str:
    try:
        with Path(path).open('rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else _read(file)
    except OSError as error:
        raise BenchError(f'cannot read {path}: {error.strerror}') from None


def _read(file: object) -> str:
    return hashlib.sha256(file.read()).hexdigest()


def _database() -> sqlite3.Connection:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / 'digests.sqlite', timeout=10)
    database.execute(
        'CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, inode INTEGER, '
        'digest TEXT)'
    )
    return database


def _known(stamps: dict[str, Stamp]) -> dict[str, str]:
    """Digests of files that are as they were. A cache that cannot be read knows none."""
    known = {}
    with suppress(OSError, sqlite3.Error), closing(_database()) as database:
        for path, stamp in stamps.items():
            row = database.execute('SELECT size, changed, inode, digest FROM files WHERE path = ?', (path,)).fetchone()
            if row is not None and row[:3] == stamp:
                known[path] = row[3]
    return known


def _keep(rows: list[tuple]) -> None:
    with suppress(OSError, sqlite3.Error), closing(_database()) as database, database:
        database.executemany('INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)', rows)
