"""Libraries that only some commands need: extras of the package, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .errors import BenchError


def needed(module: str, extra: str, what_for: str) -> ModuleType:
    """Import an optional module.

        loadmat = needed('scipy.io', 'data', 'conversion of Pascal Context').loadmat

    Args:
        module: its name as in an ``import``.
        extra: of this package, which installs it.
        what_for: what is being done, as the message begins.

    Raises:
        BenchError: it is not installed, or is but does not import.
    """
    library = module.split('.')[0]
    try:
        import_module(library)
        return import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            raise BenchError(f"{what_for} needs {library}: pip install 'naclip_bench[{extra}]'") from None
        raise BenchError(f'{what_for} needs {library}, which is installed but does not import: {error}') from None
