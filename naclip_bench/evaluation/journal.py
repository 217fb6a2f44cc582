"""The images of a run that are finished, on disk: one line each, written as it is finished.

A journal is a folder of JSON Lines files, one a process, so that no two processes write one file. Its first file line
says what run it belongs to; every other line holds one image's confusion matrix as its non-zero cells::

    {"run": "<fingerprint>", "classes": 21, "identity": {...}}
    {"image": "2007_000033", "cells": [[0, 0, 123456], [1, 0, 789]]}

A process that is killed in the middle of a line leaves half of it at the end of its file; that half is dropped when the
journal is read, and its image computed again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import BenchError


class Journal:
    """Finished images of one run.

    Args:
        folder: where its files are.
        identity: everything that decides the numbers, by name; two runs with equal identity may share images.
        fingerprint: hash of the identity.
        classes: number of classes.
        rank: this process's number; it writes ``images-<rank>.jsonl``.
    """

    def __init__(self, folder: Path, identity: dict, fingerprint: str, classes: int, rank: int = 0) -> None:
        self.folder, self.fingerprint, self.classes, self.rank = Path(folder), fingerprint, classes, rank
        # As it reads back from a file, so that a tuple here equals the list there.
        self.identity = json.loads(json.dumps(identity, default=str))
        self._file: BinaryIO | None = None

    def read(self) -> dict[str, np.ndarray]:
        """Cells of all finished images' confusion matrices by name; see :func:`to_cells`.

        Raises:
            BenchError: a file belongs to another run, or is damaged elsewhere than at its end.
        """
        finished: dict[str, np.ndarray] = {}
        for path in sorted(self.folder.glob('images-*.jsonl')):
            lines = path.read_bytes().split(b'\n')
            for number, line in enumerate(lines[:-1], 1):
                try:
                    entry = json.loads(line)
                    if number == 1:
                        self._check_head(path, entry)
                    else:
                        finished[entry['image']] = self._checked(entry['cells'])
                except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                    raise BenchError(
                        f'{path} is damaged at line {number}; delete the file to compute its images again'
                    ) from None
        return finished

    def append(self, images: dict[str, np.ndarray]) -> None:
        """Write finished images at the end of this process's file, in one piece."""
        lines = [json.dumps({'image': name, 'cells': cells.tolist()}) for name, cells in images.items()]
        if self._file is None:
            self._file = self._open()
            if not self._file.tell():
                lines.insert(
                    0, json.dumps({'run': self.fingerprint, 'classes': self.classes, 'identity': self.identity})
                )
        self._file.write('\n'.join([*lines, '']).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def _open(self) -> BinaryIO:
        """The file, at the end of its last whole line; what an earlier process left half-written is cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f'images-{self.rank}.jsonl'
        path.touch()
        file = path.open('r+b')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BenchError(f'another run is writing {path}; use another --work-dir') from None
        file.seek(file.read().rfind(b'\n') + 1)
        file.truncate()
        return file

    def set_aside(self, *others: Path) -> int:
        """Give an earlier run's files, and ``others`` that are there, another name; how many of its own there were."""
        # To the nanosecond: a rename over the files of another run would lose them.
        stamp = f'{time.strftime("%Y%m%d-%H%M%S")}.{time.time_ns() % 10**9:09}'
        paths = list(self.folder.glob('images-*.jsonl'))
        for path in [*paths, *(path for path in others if path.exists())]:
            path.rename(path.with_name(f'{path.name}.{stamp}'))
        return len(paths)

    def _check_head(self, path: Path, head: dict) -> None:
        if head['run'] == self.fingerprint and head['classes'] == self.classes:
            return
        changed = _changed(head['identity'], self.identity)
        raise BenchError(
            f'cannot resume: {path} was made with another {", ".join(changed) or "setting"}; '
            'use the same settings, another --work-dir, or leave out --resume'
        )

    def _checked(self, cells: list[list[int]]) -> np.ndarray:
        array = np.array(cells, np.int64).reshape(-1, 3)
        if array.min(initial=0) < 0 or array[:, :2].max(initial=0) >= self.classes:
            raise ValueError('a cell outside the matrix')
        return array


def _changed(old: dict, new: dict) -> list[str]:
    """Names of what differs; of a group of settings, those in it: ``method (stride, window)``."""
    names = []
    for key in (key for key in {**old, **new} if old.get(key) != new.get(key)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            key += f' ({", ".join(_changed(before, after))})'
        names.append(key)
    return names
