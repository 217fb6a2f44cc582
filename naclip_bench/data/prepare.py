"""A dataset prepared: its archives found or downloaded, unpacked, laid out, verified."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path, PurePosixPath

from mmengine.config import Config, ConfigDict

from ..bundled import CONFIGS
from ..checks.start import build_dataset
from ..configuration import DATA
from ..errors import BenchError, disk_fault
from ..optional import needed
from .archives import Archive, Folder, open_archive, readable
from .download import download, state_of
from .lock import locked
from .recipes import Recipe, Source
from .unpacking import find_files, unpack

#: Where a source is: archive or folder, and the path in it of each file by its path below the official folder.
Found = tuple[Archive, dict[str, str]]


def prepare(recipe: Recipe, given: Sequence[Path], data_root: Path) -> None:
    """Bring a dataset into ``data_root``, ready for its benchmarks; where it is complete already, change nothing.

    An interrupted call is continued by the next one. Its unpacked files, in a hidden folder of ``data_root``, and its
    downloads are deleted when the dataset is complete; ``given`` is never changed.

    Args:
        given: archives or folders that hold the sources; what they lack is downloaded where that needs no login.

    Raises:
        BenchError: a source is missing, damaged or unsafe; the result is not what the benchmarks expect; or another
            process prepares the same.
    """
    check_given(given)
    try:
        with locked(data_root / f'.preparing-{recipe.family}.lock'):
            try:
                lines = verified(recipe, data_root)
                lines.insert(0, f'{recipe.title} is complete; nothing was changed')
            except BenchError:
                with ExitStack() as stack:
                    _bring_in(recipe, given, data_root, stack)
                lines = verified(recipe, data_root)
            _clean_up(recipe, data_root)
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        why = disk_fault(error) or error.strerror or error
        raise BenchError(f'{where}{why}; what is finished stays, run the command again') from None
    print('\n'.join(lines))


def check_given(given: Sequence[Path]) -> None:
    """See that what the user gave is there.

    Raises:
        BenchError: it is not.
    """
    lost = [path for path in given if not path.exists()]
    if lost:
        raise BenchError(f'there is no {lost[0]}')


def dataset_of(benchmark: str, data_root: Path, seg_map_suffix: str = '') -> tuple[ConfigDict, int]:
    """The dataset of a benchmark's config under a data root, and how many images it has.

    Args:
        seg_map_suffix: of a variant's masks.
    """
    config = Config.fromfile(CONFIGS / '_base_' / 'datasets' / f'{benchmark}.py')
    dataset = config.test_dataloader.dataset
    dataset.data_root = str(Path(data_root, *Path(dataset.data_root).parts[1:]))
    if seg_map_suffix:
        dataset.seg_map_suffix = seg_map_suffix
    return dataset, config.images


def check_dataset(benchmark: str, data_root: Path, seg_map_suffix: str = '') -> ConfigDict:
    """The same, every image and mask of it seen to be there.

    Raises:
        BenchError: what is missing.
    """
    dataset, images = dataset_of(benchmark, data_root, seg_map_suffix)
    count = len(build_dataset(dataset))
    if count != images:
        raise BenchError(f'data: {dataset.data_root} has {count:,} images of {benchmark}, not {images:,}')
    return dataset


def _bring_in(recipe: Recipe, given: Sequence[Path], data_root: Path, stack: ExitStack) -> None:
    found = find_sources(recipe, given, data_root, stack)
    absent = check_absent(recipe, found, given, data_root)
    for source in absent:
        try:
            found[source] = _downloaded(source, data_root, stack)
        except BenchError as error:
            raise BenchError(f'{error}; or by hand: {_by_hand(recipe, [source], given, data_root)}') from None
    for source in recipe.sources:
        contents, names = found[source]
        unpack(contents, only_needed(source, contents, names), _staging(recipe, data_root) / source.folder)
    print(f'laying out {recipe.title} in {data_root}', flush=True)
    recipe.lay_out(_staging(recipe, data_root), data_root)


def check_absent(recipe: Recipe, found: Collection[Source], given: Sequence[Path], data_root: Path) -> list[Source]:
    """The sources that are to be downloaded, and can be used then.

    Raises:
        BenchError: one needs a login, or a library that is not installed: better said before than after.
    """
    absent = [source for source in recipe.sources if source not in found]
    if any(not source.url for source in absent):
        raise BenchError(_by_hand(recipe, absent, given, data_root))
    for module in (module for source in absent for module in source.needs):
        needed(module, 'data', f'conversion of {recipe.title}')
    return absent


def only_needed(source: Source, contents: Archive, names: Mapping[str, str]) -> Mapping[str, str]:
    """Of the files of a source those that the benchmarks need.

    Raises:
        BenchError: the source has another list of images.
    """
    if source.listed:
        with readable(contents.path), contents.read(names[source.listed]) as stream:
            wanted = set(stream.read().decode(errors='replace').split())
        if len(wanted) != (count := max(source.files.values())):
            listed = f'{source.listed} of {contents.path} names {len(wanted):,} images, not {count:,}'
            raise BenchError(f'{listed}; is it {source.archive}?')
    elif source.images:
        wanted = set(source.images())
    else:
        return names
    return {
        below: name for below, name in names.items() if below == source.listed or PurePosixPath(below).stem in wanted
    }


def find_sources(recipe: Recipe, given: Sequence[Path], data_root: Path, stack: ExitStack) -> dict[Source, Found]:
    """The sources in what the user gave, or in a benchmark that is there already.

    Raises:
        BenchError: what was given has none, or one twice.
    """
    found: dict[Source, Found] = {}
    for path in given:
        for source, place in _look_into(recipe, path, stack).items():
            if source in found and _first_file(*found[source]) != _first_file(*place):
                both = f'{found[source][0].path} and {place[0].path}'
                raise BenchError(f'both {both} hold {_files_of(source)}; give one of them')
            found[source] = place
    for source in recipe.sources:
        for benchmark in source.shared if source not in found else ():
            with suppress(BenchError):
                contents = Folder(Path(check_dataset(benchmark, data_root).data_root))
                if names := find_files(contents, source.files, source.folder):
                    found[source] = contents, names
                    break
    return found


def _look_into(recipe: Recipe, path: Path, stack: ExitStack) -> dict[Source, Found]:
    """The sources in what the user gave; in the folder around it, where it is itself a folder of the dataset."""
    inner = {part for source in recipe.sources for glob in source.files for part in glob.split('/')[:-1]}
    for place in (path, path.resolve().parent) if path.is_dir() and path.resolve().name in inner else (path,):
        contents = stack.enter_context(closing(open_archive(place)))
        held = {source: find_files(contents, source.files, source.folder) for source in recipe.sources}
        if any(held.values()):
            return {source: (contents, names) for source, names in held.items() if names}
    expected = ' nor '.join(f'{_files_of(source)} of {source.archive}' for source in recipe.sources)
    raise BenchError(f'{path} holds {"neither" if len(recipe.sources) > 1 else "no"} {expected}')


def _first_file(contents: Archive, names: dict[str, str]) -> Path:
    """Tells whether two folders, one in the other, gave the same files."""
    return (contents.path / min(names.values())).resolve()


def _downloaded(source: Source, data_root: Path, stack: ExitStack) -> Found:
    target = download_of(source, data_root)
    download(source.url, target, source.md5)
    return read_download(source, target, stack)


def read_download(source: Source, target: Path, stack: ExitStack) -> Found:
    """What a finished download holds of a source.

    Raises:
        BenchError: nothing.
    """
    contents = stack.enter_context(closing(open_archive(target)))
    if names := find_files(contents, source.files, source.folder):
        return contents, names
    raise BenchError(f'{target} holds no {_files_of(source)}; delete it')


def _files_of(source: Source) -> str:
    """What is looked for in a source, in the user's words."""
    folder = f'{source.folder}/' if source.folder else ''
    globs = [glob.replace('|', ' or ') for glob in source.files]
    return f'{folder}{{{", ".join(globs)}}}' if len(globs) > 1 else f'{folder}{globs[0]}'


def _by_hand(recipe: Recipe, sources: Sequence[Source], given: Sequence[Path], data_root: Path) -> str:
    """Where a person gets sources, and what to do with them then."""
    places = [f'{source.archive} from {source.page or source.url}' for source in sources]
    command = ['naclip-bench', 'data', 'prepare', recipe.key, *_at(data_root)]
    command += ['--unlabeled-ignored'] if recipe.seg_map_suffix else []
    command += ['--from', *map(str, given), *(source.archive for source in sources)]
    return f'get {" and ".join(places)}, then run: {shlex.join(command)}'


def verified(recipe: Recipe, data_root: Path) -> list[str]:
    """For each benchmark a line with what to do next.

    Raises:
        BenchError: one is not complete.
    """
    lines = []
    for benchmark in recipe.benchmarks:
        folder = check_dataset(benchmark, data_root, recipe.seg_map_suffix).data_root
        command = ['naclip-bench', 'test', f'naclip_{benchmark}', *_at(data_root)]
        if recipe.seg_map_suffix:
            command += ['--cfg-options', f'test_dataloader.dataset.seg_map_suffix={recipe.seg_map_suffix}']
        lines.append(f'{benchmark}: complete in {folder}; next: {shlex.join(command)}')
    return lines


def _at(data_root: Path) -> list[str]:
    return [] if data_root == Path(DATA) else ['--data-root', str(data_root)]


def _staging(recipe: Recipe, data_root: Path) -> Path:
    return data_root / f'.preparing-{recipe.key}'


def download_of(source: Source, data_root: Path) -> Path:
    return data_root / 'downloads' / source.archive


def _clean_up(recipe: Recipe, data_root: Path) -> None:
    """Delete what a complete dataset no longer needs; a file that someone put among the downloads is theirs."""
    if _staging(recipe, data_root).is_dir():
        shutil.rmtree(_staging(recipe, data_root))
    for source in recipe.sources:
        target = download_of(source, data_root)
        if target.is_file() and state_of(target).is_file():
            target.unlink()
            state_of(target).unlink()
            print(f'deleted {target}, which is no longer needed')
    with suppress(OSError):  # others' downloads
        (data_root / 'downloads').rmdir()
