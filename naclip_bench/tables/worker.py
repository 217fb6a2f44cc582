"""The life of a process that computes a share of a pass; what it needs is imported quietly, when it lives."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from ..errors import BenchError


def live(job: bytes, store: Path, threads: int, say: Connection) -> None:
    """Compute a pickled :class:`Job` into a store's journals; say None, or what went wrong."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A child takes its parent's way of starting processes; data are loaded by forked ones, as everywhere.
    multiprocessing.set_start_method('fork', force=True)
    try:
        from ..configuration import register

        register()
        import torch

        from .store import Store

        torch.set_num_threads(threads)
        pickle.loads(job).compute(Store(store))
        say.send(None)
    except BenchError as error:
        say.send(BenchError(str(error)))
    except KeyboardInterrupt:
        pass  # the process that asked was interrupted too, and says so
    except Exception:
        say.send(RuntimeError(f'in a process of --device-count:\n{traceback.format_exc()}'))


def _end_with_parent() -> None:
    """Without the process that asked nobody holds the claims: another may be computing the same by now."""
    multiprocessing.parent_process().join()
    os._exit(1)
