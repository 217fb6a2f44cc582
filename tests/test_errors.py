"""However a command ends, it says one line and has an exit code that tells what kind of end it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from naclip_bench.errors import TRACEBACK, BenchError, run_command

ROOT = Path(__file__).resolve().parent.parent
REPORT = f'(please report; {TRACEBACK}=1 shows where)'
WORKER = """Caught {0} in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "loader.py", line 1, in load
{0}: what went wrong"""


def ended(capfd: pytest.CaptureFixture, error: BaseException) -> tuple[int, str]:
    """Exit code and stderr of a command that raises ``error``."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    return caught.value.code, capfd.readouterr().err


@pytest.mark.parametrize(
    ('error', 'code', 'line'),
    [
        (BenchError('no such file'), 1, 'error: no such file'),
        (BenchError(WORKER.format('naclip_bench.errors.BenchError')), 1, 'error: what went wrong'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (
            OSError(errno.ENOSPC, 'No space', 'a.png'),
            1,
            'error: a.png: the disk is full; free some space, or write to ',
        ),
        (OSError(errno.EROFS, 'Read-only'), 1, 'error: the disk is read-only; write elsewhere'),
        (KeyError('seg_map_path'), 70, f"error: internal: KeyError: 'seg_map_path' {REPORT}"),
        (ValueError('one\n  two\nthree'), 70, f'error: internal: ValueError: one two three {REPORT}'),
        (RuntimeError(), 70, f'error: internal: RuntimeError {REPORT}'),
        (RuntimeError(WORKER.format('RuntimeError')), 70, f'error: internal: RuntimeError: what went wrong {REPORT}'),
        # Of a pipe between processes; stdout is whole.
        (BrokenPipeError(errno.EPIPE, 'Broken pipe'), 70, 'error: internal: BrokenPipeError: [Errno 32] Broken pipe '),
    ],
)
def test_one_line_and_a_code(capfd, error, code, line):
    got, said = ended(capfd, error)
    assert got == code and said.startswith(line) and said.count('\n') == 1


def test_a_terminal_breaks_a_line_between_words(capfd, monkeypatch):
    monkeypatch.setenv('COLUMNS', '20')
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    _, said = ended(capfd, BenchError('there is no data/a_long/path_of-a-file; run it'))
    assert said.splitlines() == ['error: there is no', 'data/a_long/path_of-a-file;', 'run it']


def test_where_it_was_raised_is_shown_on_demand(capfd, monkeypatch):
    monkeypatch.setenv(TRACEBACK, '1')
    code, said = ended(capfd, KeyError('x'))
    assert code == 70 and said.startswith('Traceback') and 'in main' in said
    assert said.splitlines()[-1] == f"error: internal: KeyError: 'x' {REPORT}"


@pytest.mark.parametrize('lines', [2, 100_000])
def test_reader_that_leaves_early_hears_nothing(lines):
    """As in ``list | head -1``."""
    code = f"""if True:
        from naclip_bench.errors import run_command
        def main():
            for _ in range({lines}):
                print('a line')
            input()
            print('behind the end of the pipe')
        run_command(main)"""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '' if lines > 2 else '1'}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, '-c', code], env=environment, text=True, **pipes)
    assert process.stdout.readline() == 'a line\n'
    process.stdout.close()
    process.stdin.write('\n')
    process.stdin.close()
    assert process.stderr.read() == ''
    process.stderr.close()
    assert process.wait(20) == 141
