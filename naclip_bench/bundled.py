"""Where the files that come along lie: beside the modules in an installed package, beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path, PurePath

from .errors import BenchError, did_you_mean

PACKAGE = Path(__file__).resolve().parent


#: The files are in the package, where nothing of a user's belongs.
INSTALLED = (PACKAGE / 'configs').is_dir()


def _folder(installed: str, checkout: str) -> Path:
    return PACKAGE / installed if INSTALLED else PACKAGE.parent / checkout


#: Configs, and the values that they are expected to give.
CONFIGS = _folder('configs', 'configs')
EXPECTED = CONFIGS / 'expected.json'

#: Lists of images that stand for a dataset in regression checks.
SUBSETS = _folder('subsets', 'data/subsets')

#: One class a line, by dataset.
CLASS_NAMES = PACKAGE / 'class_names'

#: Official validation lists: names without folders and suffixes, one a line, in order.
SPLITS = PACKAGE / 'splits'

#: Models: an open_clip config and weights of the same name.
PRETRAINED = PACKAGE / 'pretrained'


def bundled_or_own(name: str, folder: Path, what: str) -> Path:
    """A text file that comes along, by its name, or the path of one's own.

    What comes along goes first, so that a file of that name in the current folder does not take its place; a name with
    a separator or a suffix is a path.

    Args:
        folder: of the files that come along, each ``<name>.txt``.
        what: what the file is, as the message calls it.

    Raises:
        BenchError: there is neither.
    """
    own, bundled = Path(name), folder / f'{name}.txt'
    is_path = bool(own.suffix) or PurePath(name).name != name
    for path in (own, bundled) if is_path else (bundled, own):
        if path.is_file():
            return path
    known = [path.stem for path in folder.glob('*.txt')]
    raise BenchError(f'{what}: there is no file {name}{did_you_mean(own.stem, known)}')
