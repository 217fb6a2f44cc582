"""The Dockerfile installs what requirements.txt pins; its shell lines run here with a pip that only tells."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from naclip_bench.bundled import CONFIGS

ROOT = CONFIGS.parent
LINES = re.sub(r'\\\n\s*', '', (ROOT / 'Dockerfile').read_text(encoding='utf-8')).splitlines()
PINS = [line for line in (ROOT / 'requirements.txt').read_text().splitlines() if not line.startswith('-e')]


def of(instruction: str) -> list[str]:
    return [line.removeprefix(f'{instruction} ') for line in LINES if line.startswith(f'{instruction} ')]


def installed(folder: Path, index: str) -> tuple[int, list[str]]:
    """What the step of the pins calls pip with: exit code, calls."""
    (step,) = [line for line in of('RUN') if 'requirements.txt' in line]
    pip, calls = folder / 'pip', folder / 'calls'
    pip.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    pip.chmod(0o755)
    environment = {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'TORCH_INDEX': index}
    step = step.replace('/tmp/pins.txt', str(folder / 'pins.txt'))
    done = subprocess.run(
        ['sh', '-c', step], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, calls.read_text().splitlines()


@pytest.mark.parametrize(('index', 'given'), [('', ''), ('https://builds/cpu', '--index-url https://builds/cpu ')])
def test_what_is_pinned_is_installed(tmp_path, index, given):
    code, (torch, rest) = installed(tmp_path, index)
    first = [pin for pin in PINS if re.match('torch(vision)?=', pin)]
    assert code == 0 and len(first) == 2
    assert torch == f'install --no-cache-dir {given}{" ".join(first)}'
    assert rest == f'install --no-cache-dir -r {tmp_path}/pins.txt'
    assert (tmp_path / 'pins.txt').read_text().splitlines() == PINS


def test_what_the_command_needs_is_let_in():
    let_in = {line[1:] for line in (ROOT / '.dockerignore').read_text().splitlines() if line.startswith('!')}
    assert all((ROOT / path).exists() for path in let_in)
    named = set(re.findall(r'file: (\S+)', (ROOT / 'setup.cfg').read_text())) | {'setup.py', 'setup.cfg', 'LICENSE'}
    assert named | {'pyproject.toml', 'requirements.txt', 'naclip_bench', 'configs', 'data/subsets'} <= let_in


def test_python_is_one_that_the_package_takes():
    (image,) = of('FROM')
    version = tuple(map(int, re.search(r'python:(\d+)\.(\d+)', image).groups()))
    (least,) = re.findall(r'python_requires = >=(\d+)\.(\d+)', (ROOT / 'setup.cfg').read_text())
    assert version >= tuple(map(int, least))
