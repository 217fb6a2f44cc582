"""What the preparation of a dataset would do and how much disk it wants, with nothing of it done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..console import amount
from ..datasets.check import layout
from ..errors import BenchError
from .prepare import (
    Found,
    check_absent,
    check_given,
    dataset_of,
    download_of,
    find_sources,
    only_needed,
    read_download,
    verified,
)
from .recipes import Recipe, Source
from .unpacking import counted

#: Bytes of a converted mask, about.
MASK = 15_000


def dry_run(recipe: Recipe, given: Sequence[Path], data_root: Path) -> None:
    """Print what :func:`.prepare.prepare` would download, read, convert and write, and the disk that it wants.

    Nothing is downloaded or written; archives are looked through. Sizes of what is not there yet are about right.

    Raises:
        BenchError: what would end the preparation before it begins: a source that needs a login, is damaged or of
            another dataset, a library that is not installed, or a disk that is too full.
    """
    check_given(given)
    try:
        verified(recipe, data_root)
    except BenchError:
        print(f'{recipe.title}: what would be done; nothing of it is')
    else:
        print(f'{recipe.title} is complete; nothing would be done')
        return
    with ExitStack() as stack:
        found = find_sources(recipe, given, data_root, stack)
        for source in recipe.sources:
            if source not in found and source.url and download_of(source, data_root).is_file():
                found[source] = read_download(source, download_of(source, data_root), stack)
        kept = sum(_tell_read(source, place) for source, place in found.items())
    absent = [source for source in recipe.sources if source not in found]
    passing = sum(_tell_absent(source, data_root) for source in absent)
    kept += sum(source.taken for source in absent) + _tell_written(recipe, data_root)
    place = next(folder for folder in (data_root, *data_root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    unknown = [source.archive for source in absent if not source.taken]
    more = f', and {" and ".join(unknown)}, whose size is not known' if unknown else ''
    wants = f'about {amount(passing + kept)}{more}'
    _line('disk', f'{wants}; when it is done, about {amount(kept)}; {amount(free)} are free in {place}')
    check_absent(recipe, found, given, data_root)
    if passing + kept > free:
        raise BenchError(f'the disk is too full: {wants} are needed in {place}, {amount(free)} are free')


def _tell_read(source: Source, place: Found) -> int:
    """Bytes that are taken of a source."""
    contents, names = place
    chosen = only_needed(source, contents, names)
    size = sum(map(contents.size, chosen.values()))
    _line('read', f'{counted(chosen)}, {amount(size)}, of {contents.path}')
    return size


def _tell_absent(source: Source, data_root: Path) -> int:
    """Bytes of a download, which is deleted in the end."""
    size = f'about {amount(source.size)}' if source.size else 'of unknown size'
    _line('download' if source.url else 'get', f'{source.archive}, {size}, from {source.url or source.page}')
    part = download_of(source, data_root).with_name(f'{source.archive}.part')
    if part.is_file():
        _line('', f'going on at {amount(part.stat().st_size)} in {part}')
    return source.size if source.url else 0


def _tell_written(recipe: Recipe, data_root: Path) -> int:
    """Bytes of the masks that are converted, about."""
    places: dict[str, tuple[int, list[str]]] = {}  # benchmarks that share their files
    for benchmark in recipe.benchmarks:
        dataset, images = dataset_of(benchmark, data_root, recipe.seg_map_suffix)
        places.setdefault(layout(dataset), (images, []))[1].append(benchmark)
    masks = sum(images for images, _ in places.values()) if recipe.converted else 0
    if masks:
        _line('convert', f'{masks:,} masks, {recipe.converted}')
    for place, (images, benchmarks) in places.items():
        _line('write', f'{place}: {images:,} images with masks, for {" and ".join(benchmarks)}')
    return masks * MASK


def _line(verb: str, what: str) -> None:
    print(f'  {verb:<10}{what}')
