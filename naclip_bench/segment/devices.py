"""Where a model runs, by name."""

from __future__ import annotations

import torch

from ..errors import BenchError

KINDS = ('cpu', 'cuda', 'mps', 'xpu')


def device_of(name: str | torch.device) -> torch.device:
    """``auto`` for the best there is, or ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``.

    Raises:
        BenchError: there is no such device here.
    """
    if str(name) == 'auto':
        return torch.device(next((kind for kind in ('cuda', 'xpu', 'mps') if _is_there(kind)), 'cpu'))
    kind, _, index = str(name).partition(':')
    if kind not in KINDS or (index and not index.isdigit()):
        raise BenchError(f'device is {name}; it must be auto, {", ".join(KINDS)}, or one of several as cuda:1')
    if not _is_there(kind):
        raise BenchError(f'device: there is no {kind} here; take auto or cpu')
    if kind != 'cpu' and index and int(index) >= getattr(torch, kind).device_count():
        raise BenchError(f'device: there is no {name} here; they are numbered from 0')
    return torch.device(str(name))


def _is_there(kind: str) -> bool:
    if kind == 'cpu':
        return True
    return torch.backends.mps.is_available() if kind == 'mps' else getattr(torch, kind).is_available()
