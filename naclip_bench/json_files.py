"""JSON that anybody can read, and files of it that are whole."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from .files import written_beside


def write_json(path: Path, content: dict, indent: int | None = 2) -> None:
    """Write beside and rename, so that nobody ever reads half a file."""
    with written_beside(path) as temporary, temporary.open('w', encoding='utf-8') as file:
        file.write(json.dumps(plain(content), indent=indent, allow_nan=False) + '\n')
        # On the disk before it has its name: what it takes the place of may be deleted next.
        file.flush()
        os.fsync(file.fileno())


def plain(value: object, finite_only: bool = True) -> object:
    """Turn a value into what it reads back as from JSON.

    Args:
        value: dicts, sequences, numbers and text; anything else becomes its text.
        finite_only: NaN and infinity become null, as JSON has neither; else their names.
    """
    if isinstance(value, dict):
        return {str(key): plain(item, finite_only) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, finite_only) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if finite_only else str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
