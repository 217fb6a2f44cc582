"""Libraries that only some commands need: extras of the package, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .errors import BenchError


def needed(module: str, extra: str, what_for: str) -> ModuleType:
    """Import an optional module.

        loadmat = needed('scipy.io', 'data', 'conversion of Pascal Context').loadmat

    Args:
        module: its name as in an ``import``; a part that came late, where an older library is not enough.
        extra: of this package, which installs it.
        what_for: what is being done, as the message begins.

    Raises:
        BenchError: it is not installed, or has no such part yet, or does not import.
    """
    library = module.split('.')[0]
    try:
        import_module(library)
        return import_module(module)
    except ImportError as error:
        missing = error.name or '' if isinstance(error, ModuleNotFoundError) else ''
        if missing == library:
            raise BenchError(f"{what_for} needs {library}: pip install 'naclip_bench[{extra}]'") from None
        if missing.startswith(f'{library}.'):
            raise BenchError(
                f"{what_for} needs a newer {library}, one with {missing}: pip install -U 'naclip_bench[{extra}]'"
            ) from None
        raise BenchError(f'{what_for} needs {library}, which is installed but does not import: {error}') from None
