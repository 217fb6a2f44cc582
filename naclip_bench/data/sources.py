"""Files of an unpacked archive: where they are, and images into their place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from ..errors import BenchError
from ..files import link_or_copy, written_beside
from ..parallel import over_cores
from .masks import check_there


def find_folder(source: Path, folder: str, files: str, what: str) -> Path:
    """The first folder ``folder`` in ``source`` or anywhere below it that holds ``files``.

    Args:
        source: where an archive was unpacked.
        folder: one or more last parts of the path, such as ``gtFine/val``.
        files: pattern of files in it, such as ``*.png``.
        what: the dataset, as messages call it.

    Raises:
        BenchError: there is none.
    """
    # The usual place first: a walk through all of a large archive takes seconds.
    for candidate in itertools.chain([source / folder], source.rglob(folder)):
        if next(candidate.glob(files), None) is not None:
            return candidate
    raise BenchError(f'{what}: found no {folder}/{files} in {source}; unpack the official archive there')


def place_images(jobs: Sequence[tuple[Path, Path]], what: str) -> None:
    """Hard links of images, or copies where the file system has no links; those in place are left as they are.

    Args:
        jobs: source and target of each image.
        what: the dataset, as messages call it.

    Raises:
        BenchError: an image is missing, or cannot be written.
    """
    todo = [job for job in jobs if not job[1].is_file()]
    check_there([source for source, _ in todo], f'{what} images')
    for _ in over_cores(_link, todo, f'{what} images'):
        pass


def context_names() -> list[str]:
    """The images of Pascal Context's validation set, without suffix."""
    # Imported here, since the package of datasets brings torch along.
    from ..datasets.splits import official_list

    return list(official_list('context'))


def write_list(path: Path, names: Sequence[str]) -> None:
    """A dataset's list of images, one name a line.

    Raises:
        BenchError: another list is there already; it may be the user's own.
    """
    if path.is_file():
        if set(path.read_text(encoding='utf-8').split()) == set(names):
            return
        raise BenchError(f'{path} lists other images than the official {len(names)}; move it away and run again')
    with written_beside(path, alone=True) as temporary:
        temporary.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')


def place_context(source: Path, data_root: Path, names: Sequence[str], what: str) -> None:
    """VOC2010's images and their list, which Pascal Context and PC459 share.

    Raises:
        BenchError: an image is neither in ``data_root`` nor in ``source``, or another list is there already.
    """
    root = data_root / 'VOCdevkit' / 'VOC2010'
    lost = [f'{name}.jpg' for name in names if not (root / 'JPEGImages' / f'{name}.jpg').is_file()]
    if lost:
        images = find_folder(source, 'JPEGImages', lost[0], what)
        place_images([(images / path, root / 'JPEGImages' / path) for path in lost], what)
    write_list(root / 'ImageSets' / 'SegmentationContext' / 'val.txt', names)


def _link(job: tuple[Path, Path]) -> None:
    link_or_copy(*job)
