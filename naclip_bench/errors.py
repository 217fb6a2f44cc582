"""What a user reads when something is wrong: one line that says what, where, and how to mend it."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

#: How many known names a message lists where none is close.
LISTED = 20


class BenchError(Exception):
    """A mistake in the input or the environment that the user can mend; its message is one line."""


class CommandParser(argparse.ArgumentParser):
    """A parser of command lines whose complaints are :class:`BenchError`: one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise BenchError(f'{message}; see --help')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``'; did you mean "voc21"?'``, the known names where nothing is close, or nothing where none is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return '; did you mean ' + ' or '.join(f'"{candidate}"' for candidate in close) + '?'
    more = f' and {len(known) - LISTED} more' if len(known) > LISTED else ''
    return f'; known: {", ".join(known[:LISTED])}{more}' if known else ''


def is_out_of_memory(error: BaseException) -> bool:
    """True for an allocation that failed, on an accelerator or in main memory."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def bench_error_in(error: BaseException) -> str | None:
    """The one line of a :class:`BenchError`, also where a data-loading process raised it.

    torch raises a worker's error again with its whole traceback as the message; the line is at its end.
    """
    if not isinstance(error, BenchError):
        return None
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rstrip().rsplit(f'{type(error).__module__}.{type(error).__qualname__}: ', 1)[-1]
    return text.strip()


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and leave the process with its exit code.

    A :class:`BenchError` ends in one line on stderr and exit code 1, an interruption in 130; anything else is a
    defect of ours and keeps its traceback.
    """
    try:
        code = main() or 0
    except BenchError as error:
        print(f'error: {bench_error_in(error)}', file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)
