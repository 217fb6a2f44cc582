"""Confusion matrices on disk, under the key of everything that decides them.

A leaf is ``<key>.npz``: the matrix of every finished image, with the digest of image and mask that it was computed
from, what the key stands for, and who computed. While a leaf is being computed, a folder ``<key>.running`` holds
journals and a lock, so that an interrupted run goes on, and several commands can work on one store.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from ..errors import BenchError
from ..files import written_beside
from .journal import PATTERN, Finished, Journal, read_journals

#: Version of the store's files.
SCHEMA = 2


@dataclass(frozen=True)
class Entry:
    """What the store has of a leaf.

    Attributes:
        about: ``key``, ``parts`` (what it stands for), ``classes``, and ``sessions``: who computed, and when.
        images: by name.
    """

    about: dict
    images: dict[str, Finished]

    @property
    def cells(self) -> dict[str, np.ndarray]:
        """Each image's confusion matrix as its non-zero entries, by name."""
        return {name: image.cells for name, image in self.images.items()}


class Store:
    """A folder of finished leaves.

        store = Store(Path('work_dirs/results'))
        store.get(key).cells['2007_000033']    # rows of true class, predicted class, pixels

    Args:
        folder: made when the first leaf is computed.
        lasting: it is there for later runs.
    """

    def __init__(self, folder: Path, lasting: bool = True) -> None:
        self.folder, self.lasting = Path(folder), lasting

    def path(self, key: str) -> Path:
        return self.folder / f'{key}.npz'

    def digests(self, key: str) -> dict[str, str]:
        """Tell the finished images of a leaf, and what each was computed from; empty where there is none.

        Raises:
            BenchError: see :meth:`get`.
        """
        about = self._read(key, cells=False)
        return {} if about is None else dict(zip(about['names'], about['digests'], strict=True))

    def get(self, key: str) -> Entry | None:
        """Read the leaf under ``key``; None where there is none.

        Raises:
            BenchError: the file is damaged, or holds another leaf than its name says. It is never used.
        """
        return self._read(key, cells=True)

    def _read(self, key: str, cells: bool) -> Entry | dict | None:
        path = self.path(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(file['about'].tobytes())
                if about['schema'] != SCHEMA:
                    raise refused(path, f'is of another version (schema {about["schema"]}, not {SCHEMA})')
                if about['key'] != key:
                    raise refused(path, f'belongs to another run ({about["key"][:12]})')
                if not cells:
                    return about
                arrays = np.column_stack([file['classes'].astype(np.int64), file['pixels'].astype(np.int64)])
                parts = np.split(arrays, np.cumsum(file['counts'])[:-1])
                images = dict(zip(about['names'], map(Finished, about['digests'], parts), strict=True))
                return Entry({name: about[name] for name in ('key', 'parts', 'classes', 'sessions')}, images)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            raise refused(path, 'is damaged') from None
        except OSError as error:
            raise BenchError(f'cannot read {path}: {error.strerror}') from None

    def put(self, key: str, about: dict, images: Mapping[str, Finished]) -> None:
        """Write a leaf, all of it, and take its journals away.

        Args:
            about: ``parts``, ``classes`` and ``sessions``.
        """
        names = sorted(images)
        cells = [images[name].cells for name in names]
        rows = np.concatenate(cells) if cells else np.zeros((0, 3), np.int64)
        head = {
            'schema': SCHEMA,
            'key': key,
            **about,
            'names': names,
            'digests': [images[name].digest for name in names],
        }
        arrays = {
            'about': np.frombuffer(json.dumps(head, allow_nan=False).encode(), np.uint8),
            'counts': np.array([len(of) for of in cells], np.int64),
            'classes': rows[:, :2].astype(np.uint16),
            'pixels': rows[:, 2].astype(np.uint32),
        }
        with written_beside(self.path(key)) as temporary, temporary.open('wb') as file:
            np.savez(file, **arrays)
            # On the disk before it has its name: the journals that it takes the place of are deleted next.
            file.flush()
            os.fsync(file.fileno())
        for journal in self._running(key).glob(PATTERN):
            journal.unlink()

    def journal(self, key: str) -> Journal:
        """Open what this process writes of a leaf."""
        return Journal(self._running(key))

    def unsealed(self, key: str) -> dict[str, Finished]:
        """Read what interrupted runs finished of a leaf and did not put."""
        return read_journals(self._running(key))

    def _running(self, key: str) -> Path:
        return self.folder / f'{key}.running'

    @contextmanager
    def claimed(self, keys: Iterable[str]) -> Iterator[set[str]]:
        """Keep those of ``keys`` that no other process is computing from others meanwhile.

        The claims of a process that dies are given back by the system.

        Raises:
            BenchError: the store cannot be written.
        """
        with ExitStack() as claims:
            yield {key for key in dict.fromkeys(keys) if self._claim(key, claims)}

    def _claim(self, key: str, claims: ExitStack) -> bool:
        folder = self._running(key)
        lock = FileLock(folder / 'lock', blocking=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(f'the store {self.folder} cannot be written: {error.strerror}') from None
        try:
            lock.acquire()
        except (Timeout, FileNotFoundError):
            # Another process has it, or is just taking its folder away.
            return False
        except OSError as error:
            raise BenchError(f'the store {self.folder} cannot be written: {error.strerror}') from None
        claims.callback(self._release, folder, lock)
        return True

    @staticmethod
    def _release(folder: Path, lock: FileLock) -> None:
        # Before the lock is given back: nobody can lock a file that has no name.
        if not any(folder.glob(PATTERN)):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def refused(path: Path, why: str) -> BenchError:
    """Say that a file is not used, and what to do."""
    return BenchError(f'{path} {why}; delete the file to compute it again')
