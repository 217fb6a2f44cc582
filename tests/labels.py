"""Small masks and images on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, labels: object, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(labels, dtype)).save(path)
    return path


def load(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        # What a PNG has as 16 bits, some releases of Pillow call 32.
        assert image.mode in ('L', 'I;16', 'I') and image.format == 'PNG'
        return np.array(image).tolist()


def save_images(folder: Path, *names: str) -> None:
    for name in names:
        save(folder / name, np.zeros((2, 4, 3)))


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Everything below a folder: when it was changed, and its content."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob('*') if path.is_file()}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
