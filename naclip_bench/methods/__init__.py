"""The methods, one file or folder each; importing the package registers them all with mmseg's MODELS."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

#: Why classes of this folder cannot be used, by their names: their file does not import. The others are not touched.
BROKEN: dict[str, str] = {}

for _module in iter_modules(__path__):
    try:
        import_module(f'{__name__}.{_module.name}')
    except Exception as _error:
        _place = Path(__path__[0], _module.name)
        for _file in _place.rglob('*.py') if _place.is_dir() else [_place.with_suffix('.py')]:
            # By their text, as a file with a mistake in its syntax has no other form.
            for _class in re.findall(r'^class (\w+)', _file.read_text('utf-8', 'replace'), re.MULTILINE):
                BROKEN[_class] = ' '.join(f'{_place} cannot be imported: {type(_error).__name__}: {_error}'.split())
