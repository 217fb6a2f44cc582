"""Results on disk, one small file each, named by the hash of everything that decides the number.

A finished leaf is ``<hash>.json``: its record and the confusion matrix of every image, sealed by a checksum. A leaf
that is being computed has a folder ``<hash>.running`` with a journal of finished images, one file a process, so that
an interrupted table goes on, and a lock, so that several commands can work on one store.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from mmseg.registry import METRICS

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
        cells: each image's confusion matrix as its non-zero entries, by name; see :func:`to_cells`.
    """

    record: dict
    cells: dict[str, np.ndarray]

    @property
    def classes(self) -> int:
        return len(self.record['per_class'])

    def scores(self) -> Scores:
        """As the leaf's own metric defines them."""
        metric = METRICS.build(self.record['config']['test_evaluator'])
        return metric.scores(from_cells(self.cells.values(), self.classes))


class LeafJournal(Journal):
    """The journal of a leaf, in a folder that its key names."""

    def _check_head(self, path: Path, head: dict) -> None:
        if head['run'] != self.fingerprint:
            raise refused(path, f'belongs to another run ({head["run"][:12]})')


class Store:
    """A folder of results.

    Args:
        folder: made when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

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
        except OSError as error:
            raise BenchError(f'cannot read {path}: {error.strerror}') from None
        except ValueError:
            raise refused(path, 'is damaged') from None
        if not isinstance(entry, dict) or entry.get('schema') != SCHEMA:
            raise refused(path, f'is no result of this store (schema {SCHEMA})')
        if entry.get('checksum') != _checksum(entry):
            raise refused(path, 'is damaged: its checksum does not fit its content')
        if entry['key'] != key:
            raise refused(path, f'belongs to another run ({entry["key"][:12]})')
        # A process that is killed between sealing and tidying leaves its journal.
        shutil.rmtree(self._running(key), ignore_errors=True)
        cells = {name: np.array(rows, np.int64).reshape(-1, 3) for name, rows in entry['images'].items()}
        return Result(entry['record'], cells)

    def put(self, key: str, result: Result) -> None:
        """Seal a finished leaf and take its journal away."""
        entry = {
            'schema': SCHEMA,
            'key': key,
            'record': result.record,
            'images': {name: cells.tolist() for name, cells in sorted(result.cells.items())},
        }
        # As it reads back: that is what the checksum is compared with.
        entry = plain(entry)
        write_json(self.path(key), {**entry, 'checksum': _checksum(entry)}, indent=None)
        shutil.rmtree(self._running(key), ignore_errors=True)

    def journal(self, key: str, identity: dict, classes: int) -> Journal:
        """Where this process writes the images of a leaf that it computes."""
        return LeafJournal(self._running(key), identity, key, classes, rank=uuid.uuid4().hex[:12])

    def _running(self, key: str) -> Path:
        return self.folder / f'{key}.running'

    @contextmanager
    def claimed(self, keys: Iterable[str]) -> Iterator[set[str]]:
        """Those of ``keys`` that have no result and that no other process is computing, kept from others meanwhile.

        The claims of a process that dies are given back by the system.

        Raises:
            BenchError: see :meth:`get`; or the store cannot be written.
        """
        with ExitStack() as claims:
            mine = {key for key in dict.fromkeys(keys) if self.get(key) is None and self._claim(key, claims)}
            # Another process may have finished a leaf between the look and the claim.
            yield {key for key in mine if self.get(key) is None}

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
        if not any(folder.glob('images-*')):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def refused(path: Path, why: str) -> BenchError:
    return BenchError(f'{path} {why}; delete the file to compute it again')


def _checksum(entry: dict) -> str:
    content = {key: value for key, value in entry.items() if key != 'checksum'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
