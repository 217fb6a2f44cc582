"""Of all that lies in an archive the files that a dataset needs, brought to a folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sized
from pathlib import Path

from ..console import amount
from ..errors import BenchError
from .archives import Archive, Packed
from .byte_progress import byte_progress

#: An archive that says it holds this many times its own size, and more than BOMB_BYTES, is no archive of images.
BOMB_RATIO, BOMB_BYTES = 100, 10**9


def _pattern(glob: str) -> re.Pattern:
    """A glob below an unknown folder, the group ``root``; ``**`` is any folders, ``|`` stands between alternatives."""
    parts = re.findall(r'\*\*/|\[[^]]+\]|.', glob)
    meaning = {'**/': '(?:[^/]+/)*', '*': '[^/]*', '|': '|'}
    inside = ''.join(part if part[0] == '[' else meaning.get(part, re.escape(part)) for part in parts)
    return re.compile(rf'(?P<root>(?:[^/]+/)*?)(?:{inside})')


def find_files(contents: Archive, wanted: Mapping[str, int], folder: str) -> dict[str, str] | None:
    """The files of a dataset in ``contents``, whatever folders lie around them.

    Args:
        wanted: globs below the dataset's folder, and the least number of files of each.
        folder: the official folder, such as ``VOCdevkit/VOC2012``; its name decides where two folders have the files.

    Returns:
        Path in ``contents`` of each file, by its path below the folder; None where some kind is not there at all.

    Raises:
        BenchError: there are too few of a kind, or two folders have them.
    """
    # Hidden files are what a file manager left, and have the images' names.
    names = [name for name in contents.files if not re.search(r'(^|/)\.', name)]
    found: dict[str, dict[str, list[str]]] = {}  # by root, by glob
    for glob in wanted:
        pattern = _pattern(glob)
        for name in names:
            if match := pattern.fullmatch(name):
                found.setdefault(match['root'], {}).setdefault(glob, []).append(name)
    roots = [root for root, kinds in found.items() if len(kinds) == len(wanted)]
    if len(roots) > 1:
        name = folder.rsplit('/', 1)[-1]
        roots = [root for root in roots if f'/{root}'.endswith(f'/{name}/')] or roots
    if not roots:
        return None
    if len(roots) > 1:
        raise BenchError(f'{contents.path} has the dataset twice, in {roots[0]} and {roots[1]}; give the one folder')
    (root,) = roots
    for glob, least in wanted.items():
        if (count := len(found[root][glob])) < least:
            raise BenchError(f'{contents.path} holds {count:,} of the {least:,} files {root}{glob}; get it again')
    return {name[len(root) :]: name for kinds in found[root].values() for name in kinds}


def counted(files: Sized) -> str:
    return f'{len(files):,} file{"s" if len(files) != 1 else ""}'


def is_there(target: Path, size: int) -> bool:
    """True for a file of ``size`` bytes: files come by renaming, so one of the right size is whole."""
    return target.is_file() and target.stat().st_size == size


def unpack(contents: Archive, names: Mapping[str, str], folder: Path) -> None:
    """Bring files to ``folder``; those that are there from an interrupted run are left.

    Args:
        names: path in ``contents`` by path below ``folder``.

    Raises:
        BenchError: the disk is too full, or the archive is damaged, or lies about its sizes; finished files are kept.
    """
    sizes = {name: contents.size(name) for name in names.values()}
    todo = {name: folder / below for below, name in names.items() if not is_there(folder / below, sizes[name])}
    if not todo:
        return
    total = sum(sizes[name] for name in todo)
    if isinstance(contents, Packed) and total > max(BOMB_BYTES, BOMB_RATIO * contents.path.stat().st_size):
        raise BenchError(f'{contents.path} says it holds {amount(total)}, {BOMB_RATIO} times its size; not unpacked')
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    line = f'{contents.path.name}: {counted(todo)}, {amount(total)}, to {folder} ({amount(free)} are free)'
    if total > free:
        raise BenchError(f'the disk is too full for {line}')
    print(line, flush=True)
    with byte_progress('unpacking', total) as advance:
        for name in contents.in_order(todo):
            contents.save(name, todo[name], advance)
