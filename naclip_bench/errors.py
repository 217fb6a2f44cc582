"""What a user reads when something is wrong: one line that says what, where, and how to mend it."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

#: How many known names a message lists where none is close.
LISTED = 20


#: The environment variable that has a command show where its error was raised.
TRACEBACK = 'NACLIP_BENCH_TRACEBACK'

#: Why a disk refuses, in words, and the mend.
DISK_FAULTS = {
    'ENOSPC': 'the disk is full; free some space, or write to another one, and run the command again',
    'EDQUOT': 'the quota is used up; free some space, or write elsewhere, and run the command again',
    'EROFS': 'the disk is read-only; write elsewhere',
    'EACCES': 'there is no permission; change the rights of the file or its folder, or use another one',
}


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
    """The one line of a :class:`BenchError`, also where a data-loading process raised it."""
    return _own_words(error) if isinstance(error, BenchError) else None


def disk_fault(error: BaseException) -> str | None:
    """What is wrong with a disk and how to mend it, where the error says that."""
    return DISK_FAULTS.get(errno.errorcode.get(getattr(error, 'errno', None)))


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and leave the process with its exit code.

    Whatever goes wrong is one line on stderr: a :class:`BenchError` and a full disk exit with 1; an interruption with
    130; a reader of the output who has left, as ``head`` does, in silence with 141; anything else is a defect of ours
    and exits with 70. The environment variable ``NACLIP_BENCH_TRACEBACK`` shows where each was raised.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            code = 141
        else:
            line, code = _last_words(error)
            if os.environ.get(TRACEBACK):
                traceback.print_exception(error)
            say(f'error: {line}')
    sys.exit(code)


def _last_words(error: Exception) -> tuple[str, int]:
    """The line that a command ends in, and its exit code."""
    if isinstance(error, BenchError):
        return _own_words(error), 1
    if fault := disk_fault(error):
        return f'{error.filename}: {fault}' if error.filename else fault, 1
    what = ' '.join(f'{type(error).__name__}: {_own_words(error)}'.split()).removesuffix(':')
    return f'internal: {what} (please report; {TRACEBACK}=1 shows where)', 70


def say(line: str) -> None:
    """Print a line on stderr: broken between words where it is a terminal, one line in a file or pipe."""
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        line = '\n'.join(textwrap.wrap(line, columns, break_long_words=False, break_on_hyphens=False))
    print(line, file=sys.stderr)


def _own_words(error: BaseException) -> str:
    """The message of an error, also where a data-loading process raised it.

    torch raises a worker's error again with its whole traceback as the message; the line is at its end.
    """
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        kind = type(error)
        for name in (f'{kind.__module__}.{kind.__qualname__}', kind.__qualname__):
            text = text.rstrip().rsplit(f'\n{name}: ', 1)[-1]
    return text.strip()


def _reader_has_left() -> bool:
    """True where stdout can no longer be written, which then leads nowhere, so that Python says nothing at its end.

    A broken pipe may also be one between processes.
    """
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
