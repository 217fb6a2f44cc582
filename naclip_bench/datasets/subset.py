"""A part of a dataset that stands for it in regression checks: which images, and by which rule."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from rich.console import Console
from rich.progress import track

from ..bundled import SUBSETS, bundled_or_own
from ..errors import BenchError
from .lists import read_names
from .loading import loader_of

#: The rule of :func:`pick`, as every file says it.
RULE = 'images that show every class, the rarest class first; the rest by the hash of seed and name'


def pick(names: Sequence[str], count: int, seed: int, shown: Mapping[str, Collection[int]]) -> list[str]:
    """``count`` of ``names``, sorted; the same ones in whatever order the names come.

    Images are drawn in the order of sha256("<seed> <name>"). First the classes are covered: from the rarest, which
    fewest images show (among equals the lower label), to the most frequent, each class that no chosen image shows
    adds, of the images that show it, the one with most classes still to cover (among equals the first drawn). Then
    the next images of the draw fill up.

    Args:
        names: all images of the dataset.
        count: how many to pick; 1 up to all of them.
        seed: of the draw.
        shown: classes of each image, as far as they are known; where nothing is known, the draw alone decides.

    Raises:
        BenchError: so many images there are not, or a name stands twice in the list.
    """
    name, times = Counter(names).most_common(1)[0] if names else ('', 0)
    if times > 1:
        raise BenchError(f'{name} stands {times} times in the list of images')
    if not 1 <= count <= len(names):
        raise BenchError(f'cannot pick {count} of {len(names)} images')
    drawn = sorted(names, key=lambda name: hashlib.sha256(f'{seed} {name}'.encode()).digest())
    known = {name: frozenset(shown[name]) for name in drawn if name in shown}
    images_with = Counter(label for classes in known.values() for label in classes)
    chosen: dict[str, None] = {}
    covered: frozenset[int] = frozenset()
    for label in sorted(images_with, key=lambda label: (images_with[label], label)):
        if label not in covered and len(chosen) < count:
            having = [name for name, classes in known.items() if label in classes]
            best = max(having, key=lambda name: len(known[name] - covered))
            chosen[best] = None
            covered |= known[best]
    chosen |= dict.fromkeys(islice((name for name in drawn if name not in chosen), count - len(chosen)))
    return sorted(chosen)


def short_names(names: Iterable[str]) -> list[str]:
    """Images' names without their folders, or with them where two images would be called the same."""
    names = list(names)
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(names) else names


def shown_classes(dataset: BaseSegDataset) -> list[frozenset[int]]:
    """The classes that each image's mask holds, in the dataset's order.

    Raises:
        BenchError: a mask cannot be read, or holds a label outside the classes.
    """
    load = loader_of(dataset)

    def classes_of(index: int) -> frozenset[int]:
        labels = load.labels_of(dataset.get_data_info(index))
        return frozenset(np.flatnonzero(np.bincount(labels[labels != dataset.ignore_index])).tolist())

    console = Console(stderr=True)
    bar = dict(console=console, transient=True, disable=not console.is_terminal)
    with ThreadPoolExecutor() as pool:
        return list(track(pool.map(classes_of, range(len(dataset))), 'masks', len(dataset), **bar))


def subset_text(
    dataset: str, names: Sequence[str], count: int, seed: int, shown: Mapping[str, Collection[int]], classes: int
) -> str:
    """The file of a subset: its rule and what it covers in lines that begin with "#", then the images.

    Args:
        dataset: the dataset's key.
        names, count, seed, shown: see :func:`pick`.
        classes: number of classes.
    """
    picked = pick(names, count, seed, shown)
    covered = {label for name in picked for label in shown.get(name, ())}
    masks = len(shown.keys() & set(names))
    cover = f'{len(covered)} of {classes} classes covered, by the masks of {masks}' if masks else 'drawn without masks'
    head = [
        f'{count} of the {len(names)} images of {dataset}; {cover}',
        f'naclip-bench data subset {dataset} {count} --seed {seed}',
        f'rule: {RULE}',
    ]
    return ''.join([*(f'# {line}\n' for line in head), *(f'{name}\n' for name in picked)])


def read_subset(subset: Path) -> list[str]:
    """Images of a subset given by its path, or by its name in ``data/subsets`` (``voc21_50``).

    Raises:
        BenchError: there is none, or it cannot be read.
    """
    return read_names(bundled_or_own(str(subset), SUBSETS, 'subset'), 'subset')
