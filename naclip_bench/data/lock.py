"""One process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BenchError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which is not there afterwards; the lock of a process that was killed is free.

    Raises:
        BenchError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except Timeout:
        raise BenchError(f'another process is preparing this dataset ({path} is locked); wait for it to end') from None
