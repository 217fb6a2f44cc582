"""What a folder of outputs holds: a line for each finished image, so that the same command goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import writing

NAME = 'manifest.jsonl'


class Manifest:
    """Finished images by name and method, the last line of each counting.

    An entry has ``name``, ``method``, ``settings`` (the segmenter's fingerprint), ``image`` (digest of the content),
    ``areas`` and, where masks were given, ``scores``.

    Args:
        folder: of the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.entries: dict[tuple[str, str], dict[str, Any]] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding='utf-8', errors='replace').splitlines():
                try:
                    entry = json.loads(line)
                    self.entries[entry['name'], entry['method']] = entry
                except (ValueError, KeyError, TypeError):
                    continue  # half a line, of a run that was stopped

    def finished(self, name: str, method: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """The entry of an image, if it was made as ``wanted`` says."""
        entry = self.entries.get((name, method))
        return entry if entry is not None and all(entry.get(key) == value for key, value in wanted.items()) else None

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry, whole."""
        self.entries[entry['name'], entry['method']] = entry
        with writing(self.path), self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')
