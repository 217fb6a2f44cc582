"""Where the files that come along lie: beside the modules in an installed package, beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _folder(installed: str, checkout: str) -> Path:
    return PACKAGE / installed if (PACKAGE / installed).is_dir() else PACKAGE.parent / checkout


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
