"""Results on disk, one small file each, named by the hash of everything that decides the number.

A finished leaf is ``<hash>.json``: its record and the confusion matrix of every picture, sealed by a checksum. A leaf
that is being computed has a folder ``<hash>.running`` with a journal of finished pictures, one file a process, so that
an interrupted table goes on and several processes can work on one store.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import BenchError
from ..evaluation.confusion import Scores, from_cells
from ..evaluation.journal import Journal
from ..evaluation.record import plain, write_json

#: Version of the store's files.
SCHEMA = 1


@dataclass(frozen=True)
class Result:
    """A finished leaf.

    Attributes:
        record: see docs/result.md.
        cells: each picture's confusion matrix as its non-zero entries, by name; see :func:`to_cells`.
    """

    record: dict
    cells: dict[str, np.ndarray]

    @property
    def classes(self) -> int:
        return len(self.record['per_class'])

    def scores(self) -> Scores:
        return Scores.of(from_cells(self.cells.values(), self.classes))


class Store:
    """A folder of results.

    Args:
        folder: made when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._claims: dict[str, BinaryIO] = {}

    def path(self, key: str) -> Path:
        return self.folder / f'{key}.json'

    def get(self, key: str) -> Result | None:
        """The result under ``key``, or None where there is none.

        Raises:
            BenchError: the file is damaged, or holds another result than its name says. It is never used.
        """
        path = self.path(key)
        try:
            entry = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise self._refused(path, 'is damaged') from None
        if not isinstance(entry, dict) or entry.get('schema') != SCHEMA:
            raise self._refused(path, f'is no result of this store (schema {SCHEMA})')
        if entry.get('checksum') != _checksum(entry):
            raise self._refused(path, 'is damaged: its checksum does not fit its content')
        if entry['key'] != key:
            raise self._refused(path, f'belongs to another run ({entry["key"][:12]})')
        cells = {name: np.array(rows, np.int64).reshape(-1, 3) for name, rows in entry['pictures'].items()}
        return Result(entry['record'], cells)

    def put(self, key: str, result: Result) -> None:
        """Seal a finished leaf and take its journal away."""
        entry = {
            'schema': SCHEMA,
            'key': key,
            'record': result.record,
            'pictures': {name: cells.tolist() for name, cells in sorted(result.cells.items())},
        }
        # As it reads back: that is what the checksum is compared with.
        entry = plain(entry)
        write_json(self.path(key), {**entry, 'checksum': _checksum(entry)}, indent=None)
        shutil.rmtree(self._running(key), ignore_errors=True)

    def journal(self, key: str, identity: dict, classes: int) -> Journal:
        """Where this process writes the pictures of a leaf that it computes."""
        return Journal(self._running(key), identity, key, classes, rank=uuid.uuid4().hex[:12])

    def _running(self, key: str) -> Path:
        return self.folder / f'{key}.running'

    def claim(self, key: str) -> bool:
        """Take a leaf for this process; False where another process that is alive has it."""
        if key in self._claims:
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f'{key}.lock'
        while True:
            file = path.open('w')
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A lock on a file that its last holder took away meanwhile locks nobody out.
                if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    self._claims[key] = file
                    return True
                file.close()
            except BlockingIOError:
                file.close()
                return False

    def release(self, key: str) -> None:
        """Give a claim back; the lock of a process that dies is given back by the system."""
        file = self._claims.pop(key, None)
        if file is not None:
            Path(file.name).unlink(missing_ok=True)
            file.close()

    @staticmethod
    def _refused(path: Path, why: str) -> BenchError:
        return BenchError(f'{path} {why}; delete the file to compute it again')


def _checksum(entry: dict) -> str:
    content = {key: value for key, value in entry.items() if key != 'checksum'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
