"""Whether a change made a run slower: two states of a checkout by turns, each in processes of its own."""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Column, Table

from ..console import print_whole, screen, telling
from ..errors import BenchError

#: The working tree as it is, changes that are not committed among them.
HERE = 'here'

#: Runs a checkout wherever it lies, and has the same arguments in every revision.
SCRIPT = 'tools/test.py'


@dataclass(frozen=True)
class Round:
    """One run.

    Attributes:
        seconds: of the loop over the images, by stage; ``all`` is the whole of it.
        metrics: of ``result.json``.
    """

    seconds: dict[str, float]
    metrics: dict[str, float]


def against(revision: str, test: Sequence[str], rounds: int, root: Path | None = None) -> dict[str, list[Round]]:
    """Run ``naclip-bench test`` as the checkout is and as it was at ``revision``, by turns.

        against('HEAD~1', ['naclip_materials24', '--limit', '8'], 3)

    Each state first runs once uncounted, which encodes its text vectors; then they take turns, each round beginning
    with the other one, since what runs second finds a warmer machine.

    Args:
        revision: a commit, tag or branch of the checkout.
        test: arguments of ``naclip-bench test``; paths in them are read from the current folder.
        rounds: counted runs of each.
        root: the checkout; None: the one that this package lies in.

    Raises:
        BenchError: the package does not run from a checkout, the revision is unknown, or a run fails.
    """
    if rounds < 1:
        raise BenchError(f'rounds is {rounds}; it must be at least 1')
    root = root or Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        trees = {revision: Path(folder, 'then'), HERE: root}
        _check_out(root, revision, trees[revision])
        found: dict[str, list[Round]] = {name: [] for name in trees}
        order = [*trees]
        for turn in range(rounds + 1):
            for name in order:
                with telling(f'{"warming up" if turn == 0 else f"round {turn} of {rounds}"}: {name}'):
                    measured = _run(trees[name], name, test, Path(folder, 'run'))
                if turn > 0:
                    found[name].append(measured)
            order.reverse()
    return found


def _check_out(root: Path, revision: str, folder: Path) -> None:
    if not (root / '.git').exists():
        raise BenchError(f'{root} is no git checkout; two revisions are compared in one')
    done = subprocess.run(['git', '-C', root, 'archive', '--format=tar', revision, '--'], capture_output=True)
    if done.returncode:
        message = done.stderr.decode(errors='replace').strip()
        raise BenchError(f'revision "{revision}": {message.splitlines()[-1] if message else "git cannot read it"}')
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        if SCRIPT not in archive.getnames():
            raise BenchError(f'revision "{revision}" has no {SCRIPT}, by which it would be run')
        # Older Pythons know no filter; what git wrote of this checkout needs none.
        archive.extractall(folder, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))


def _run(tree: Path, name: str, test: Sequence[str], folder: Path) -> Round:
    command = [sys.executable, str(tree / SCRIPT), *test]
    command += ['--fresh', '--store', str(folder / 'results'), '--work-dir', str(folder / 'run')]
    # What else is on the path, an installed package among it, comes behind the tree.
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(tree)}, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or 'no message').splitlines()[-1]
        raise BenchError(f'the run of {name} failed: {last}')
    record = json.loads((folder / 'run/result.json').read_text(encoding='utf-8'))
    times = record['times']
    return Round({'all': times['wall'], **times['stages']}, record['metrics'])


def print_against(found: dict[str, list[Round]]) -> None:
    """Print each stage's medians, the rounds' ratios, and whether the metrics are the same."""
    (then, before), (_, now) = found.items()
    table = Table('stage', *(Column(name, justify='right') for name in (then, HERE, 'ratio', 'of the rounds')))
    for stage in dict.fromkeys(name for one in (*before, *now) for name in one.seconds):
        old, new = ([one.seconds.get(stage, 0.0) for one in state] for state in (before, now))
        ratios = [b / a for a, b in zip(old, new, strict=True) if a]
        spread = f'{min(ratios):.2f} to {max(ratios):.2f}' if ratios else ''
        ratio = f'{statistics.median(ratios):.3f}x' if ratios else ''
        table.add_row(stage, f'{statistics.median(old):.3f}', f'{statistics.median(new):.3f}', ratio, spread)
    console = screen()
    print_whole(console, table)
    moved = _moved(before[-1].metrics, now[-1].metrics)
    console.print(f'Seconds of the loop, medians of {len(now)} rounds by turns; {moved}.', markup=False)


def _moved(before: dict[str, float], now: dict[str, float]) -> str:
    other = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    if not other:
        return 'the same metrics'
    return 'other metrics: ' + ', '.join(f'{name} {before.get(name)} -> {now.get(name)}' for name in other)
