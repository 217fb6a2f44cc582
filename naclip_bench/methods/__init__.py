"""The methods, one file or folder each; importing the package registers them all with mmseg's MODELS."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ..plugins import one_line

#: Why classes of this folder cannot be used, by their names: their file does not import. The others are not touched.
BROKEN: dict[str, str] = {}

for _module in iter_modules(__path__):
    try:
        import_module(f'{__name__}.{_module.name}')
    except Exception as _error:
        _folder = Path(__path__[0], _module.name)
        _files = sorted(_folder.rglob('*.py')) or [_folder.with_suffix('.py')]
        for _file in _files:
            # By their text, as a file with a mistake in its syntax has no other form.
            for _class in re.findall(r'^class (\w+)', _file.read_text('utf-8', 'replace'), re.MULTILINE):
                BROKEN[_class] = f'{_folder if _module.ispkg else _file} cannot be imported: {one_line(_error)}'
