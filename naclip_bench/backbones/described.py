"""Encoders that are described, not loaded: a table that is read from a store asks what weights are, not what they do.

What loading found of weights is kept in the cache folder, by all that decides it: the content of their file, the
architecture, the source that reads them, and the libraries' versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from ..bundled import PACKAGE
from ..cache import cache_folder
from ..digests import file_digests
from ..json_files import write_json

#: Distributions that draw, read or rename weights.
READERS = ('torch', 'open_clip_torch', 'timm', 'transformers', 'safetensors')

_DEVICE: ContextVar[torch.device | None] = ContextVar('device', default=None)


@contextmanager
def described(device: torch.device) -> Iterator[None]:
    """Build encoders without values where their weights have been loaded before, as if they were on ``device``.

    They have names, sizes and hashes, and compute nothing. Weights that are not known yet are loaded, and known then.
    """
    token = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(token)


def described_device() -> torch.device | None:
    """Tell the device of what is only to be described; None where all is to be loaded."""
    return _DEVICE.get()


class Description:
    """What is known of weights, where only a description is asked for.

    Args:
        path: of their file; None for random ones.
        of: all else that decides what loading them gives.
    """

    def __init__(self, path: Path | None, *of: object) -> None:
        content = None if path is None else file_digests([str(path)])[0]
        key = json.dumps([content, _readers(), *of], sort_keys=True, default=str)
        self._path = cache_folder() / 'weights' / f'{hashlib.sha256(key.encode()).hexdigest()[:32]}.json'

    def read(self) -> dict | None:
        """Tell what was kept; a cache that cannot be read knows nothing."""
        with suppress(OSError, ValueError):
            return json.loads(self._path.read_text(encoding='utf-8'))
        return None

    def keep(self, **found: object) -> None:
        """Keep what loading has found, if the cache can be written to."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, found, indent=None)


@cache
def _readers() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in READERS:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    source = hashlib.sha256()
    for path in sorted((PACKAGE / 'backbones').rglob('*.py')):
        source.update(path.read_bytes())
    return {**versions, 'source': source.hexdigest()}
