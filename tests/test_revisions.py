"""Two states of a checkout by turns; the checkout is a small one, whose ``tools/test.py`` writes what it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from naclip_bench import cli
from naclip_bench.errors import BenchError
from naclip_bench.speed.revisions import HERE, against, print_against

SCRIPT = """
import json, os, sys
from pathlib import Path
words = sys.argv[1:]
value, log, folder = {value}, {log!r}, Path(words[words.index('--work-dir') + 1])
if 'fail' in words:
    sys.exit('error: no such image')
assert '--fresh' in words and os.environ['PYTHONPATH'] == str(Path(__file__).parents[1])
with open(log, 'a') as file:
    file.write(f'{{value}} {{" ".join(words[:2])}}\\n')
folder.mkdir(parents=True, exist_ok=True)
result = dict(times=dict(wall=value, stages=dict(trunk=value / 2)), metrics=dict(mIoU={score}))
(folder / 'result.json').write_text(json.dumps(result))
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder.with_name('log')
        (folder / 'tools').mkdir(parents=True)
        (folder / 'README.md').write_text('A checkout.')
        self.write(value=2.0, score=40.0)
        for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'first']):
            self.git(*words)

    def git(self, *words: str) -> None:
        who = ['-c', 'user.name=x', '-c', 'user.email=x@x', '-c', 'commit.gpgsign=false']
        subprocess.run(['git', '-C', self.folder, *who, *words], check=True, capture_output=True)

    def write(self, **values: float) -> None:
        (self.folder / 'tools/test.py').write_text(SCRIPT.format(log=str(self.log), **values))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / 'checkout')


def test_states_take_turns_and_the_first_runs_warm_up(checkout, capfd):
    checkout.write(value=3.0, score=40.0)
    found = against('HEAD', ['naclip_voc21', '--limit'], 2, checkout.folder)
    then, now = '2.0 naclip_voc21 --limit', '3.0 naclip_voc21 --limit'
    assert checkout.log.read_text().splitlines() == [then, now, now, then, then, now]
    assert {name: [one.seconds for one in rounds] for name, rounds in found.items()} == {
        'HEAD': [{'all': 2.0, 'trunk': 1.0}] * 2,
        HERE: [{'all': 3.0, 'trunk': 1.5}] * 2,
    }
    print_against(found)
    printed = capfd.readouterr().out
    assert printed.count('1.500x') == 2 and 'the same metrics' in printed


def test_other_metrics_are_told(checkout, capfd):
    checkout.write(value=2.0, score=41.5)
    print_against(against('HEAD', [], 1, checkout.folder))
    assert 'other metrics: mIoU 40.0 -> 41.5' in capfd.readouterr().out


def test_what_does_not_run_is_told_in_a_line(checkout, tmp_path):
    with pytest.raises(BenchError, match=r'revision "nowhere": .*nowhere'):
        against('nowhere', [], 1, checkout.folder)
    with pytest.raises(BenchError, match=r'the run of HEAD failed: error: no such image'):
        against('HEAD', ['fail'], 1, checkout.folder)
    with pytest.raises(BenchError, match='no git checkout'):
        against('HEAD', [], 1, tmp_path / 'elsewhere')
    with pytest.raises(BenchError, match='at least 1'):
        against('HEAD', [], 0, checkout.folder)
    checkout.git('rm', '-q', '--cached', 'tools/test.py')
    checkout.git('commit', '-q', '-m', 'without', '--allow-empty')
    with pytest.raises(BenchError, match=r'has no tools/test\.py'):
        against('HEAD', [], 1, checkout.folder)


def test_the_command_hands_on_what_test_takes(monkeypatch):
    asked = []
    monkeypatch.setattr('naclip_bench.speed.revisions.against', lambda *given: asked.append(given))
    monkeypatch.setattr('naclip_bench.speed.revisions.print_against', lambda found: None)
    words = ['naclip_materials24', '--against=v1', '--pretrained', 'none', '--rounds', '5', '--no-plain']
    monkeypatch.setattr(sys, 'argv', ['naclip-bench', 'benchmark', *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert asked == [('v1', ['naclip_materials24', '--pretrained', 'none', '--limit', '16'], 5)]
