"""The official validation lists, and how far the images of a folder are from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..bundled import SPLITS
from ..errors import BenchError, did_you_mean

#: How many names a message shows.
SHOWN = 3


@cache
def official_list(split: str) -> tuple[str, ...]:
    """Names of the images of an official validation list: voc, context, coco, cityscapes, ade20k.

    Raises:
        BenchError: there is no such list.
    """
    path = SPLITS / f'{split}.txt'
    if not path.is_file():
        raise BenchError(f'there is no official list "{split}"{did_you_mean(split, split_names())}')
    return tuple(path.read_text(encoding='utf-8').split())


def split_names() -> list[str]:
    return sorted(path.stem for path in SPLITS.glob('*.txt'))


def hits_of(names: Iterable[str]) -> dict[str, int]:
    """How many of the images each official list has; folders before a name are of no account."""
    found = {Path(name).name for name in names}
    return {split: len(found.intersection(official_list(split))) for split in split_names()}


@dataclass(frozen=True)
class Deviation:
    """How the images of a dataset differ from the official list ``split``; true where they do.

    Attributes:
        missing, extra: names, ascending.
    """

    split: str
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str], split: str) -> Deviation:
        """``names`` as :func:`image_names` tells them."""
        found, official = {Path(name).name for name in names}, set(official_list(split))
        return cls(split, tuple(sorted(official - found)), tuple(sorted(found - official)))

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)

    def __str__(self) -> str:
        return f'missing: {some(self.missing)}; extra: {some(self.extra)}'

    def record(self) -> dict[str, object]:
        """For ``result.json``."""
        return {'name': self.split, 'missing': len(self.missing), 'extra': len(self.extra)}


def some(names: Sequence[str]) -> str:
    """How many, and the first of them: ``'1,388 (2007_000033, 2007_000042, 2007_000061, ...)'``."""
    first = ', '.join(names[:SHOWN]) + (', ...' if len(names) > SHOWN else '')
    return f'{len(names):,} ({first})' if names else 'none'
