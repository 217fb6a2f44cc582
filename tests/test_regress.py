"""Expected values: recorded with their evidence, and missed whenever a number or what it stands on is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Outcome, TinyBench, run_here

from naclip_bench.backbones import FrozenCLIP, attend
from naclip_bench.backbones.weights import load_clip
from naclip_bench.bundled import CONFIGS
from naclip_bench.evaluation import run as run_module
from naclip_bench.methods.naclip import NACLIP
from naclip_bench.vocabulary import TEMPLATES

COMMAND = CONFIGS.parent / 'tools' / 'regress.py'

CONFIGS_RECORDED = ('naclip_voc21', 'sclip_voc21', 'naclip_voc20')


class Regression:
    """``tools/regress.py`` over a tiny benchmark with values of its own."""

    def __init__(self, bench: TinyBench, capfd: pytest.CaptureFixture) -> None:
        self.bench, self.capfd, self.file = bench, capfd, bench.folder / 'expected.json'

    def run(self, *more: object) -> Outcome:
        return run_here(
            self.capfd, ['--data-root', self.bench.folder / 'data', '--expected', self.file, *more], COMMAND
        )

    def record(self, *configs: str, **changed: object) -> Outcome:
        settings = {
            'model.backbone.arch': self.bench.arch,
            'model.templates': 'photo',
            'model.window': 32,
            'model.stride': 16,
            'test_dataloader.dataset.pipeline.1.scale': '(2048,48)',
            'test_dataloader.num_workers': 0,
            **changed,
        }
        pairs = [f'{key}={value}' for key, value in settings.items()]
        return self.run('--record', *configs, '--pretrained', 'none', '--cfg-options', *pairs)

    def entries(self) -> list[dict]:
        return json.loads(self.file.read_text())['expected']

    def change(self, change: Callable[[dict], None]) -> None:
        content = json.loads(self.file.read_text())
        for entry in content['expected']:
            change(entry)
        self.file.write_text(json.dumps(content))


@pytest.fixture
def regression(tmp_path: Path, capfd: pytest.CaptureFixture) -> Regression:
    return Regression(TinyBench(tmp_path, classes=(0, 3, 15, 18)), capfd)


@pytest.fixture
def recorded(regression: Regression) -> Regression:
    assert regression.record(*CONFIGS_RECORDED).code == 0
    return regression


def assert_fails(outcome: Outcome, *lines: str) -> None:
    """Exit code 1, and one line for each failure."""
    failures = [line.removeprefix('FAIL ') for line in outcome.stdout.splitlines() if line.startswith('FAIL')]
    assert outcome.code == 1, outcome.stdout
    assert len(failures) == len(lines), failures
    for failure, line in zip(failures, lines, strict=True):
        assert line in failure, failure


# ---- what is recorded


def test_recorded_values_say_what_they_stand_on(recorded):
    entries = recorded.entries()
    assert [entry['config'] for entry in entries] == sorted(CONFIGS_RECORDED)
    entry = entries[1]
    assert (entry['config'], entry['dataset'], entry['metric']) == ('naclip_voc21', 'voc21', 'mIoU')
    assert (entry['precision'], entry['device'], entry['tolerance']) == ('fp32', 'cpu', 0.01)
    assert entry['images']['count'] == 4 and entry['weights']['name'] == 'random'
    assert 'model.stride=16' in entry['overrides']
    for digest in (
        *(entry[part]['sha256'] for part in ('images', 'weights')),
        *(entry[part] for part in ('class_names', 'prompts')),
        entry['evidence']['result'],
    ):
        assert len(digest) == 64
    assert {'date', 'device', 'versions', 'result'} == entry['evidence'].keys()
    assert 0 < entry['value'] < 100


def test_the_same_again_is_as_expected(recorded):
    outcome = recorded.run()
    assert outcome.code == 0 and outcome.stdout.count('every label as recorded') == 3
    assert '3 as expected, 0 not, 0 not compared' in outcome.stdout


def test_recording_again_takes_a_values_place(recorded):
    before = recorded.entries()
    recorded.change(lambda entry: entry.update(value=1.0))
    outcome = recorded.record('naclip_voc21')
    assert 'was 1.0000' in outcome.stdout and 'RANDOM WEIGHTS' in outcome.stdout
    assert [entry['value'] for entry in recorded.entries()] == [1.0, before[1]['value'], 1.0]
    # Another setting is another value.
    assert recorded.record('naclip_voc21', **{'model.stride': 32}).code == 0
    assert len(recorded.entries()) == 4


def test_a_value_of_a_part(recorded):
    subset = recorded.bench.folder / 'part.txt'
    subset.write_text('p1\np2\n')
    before = recorded.entries()
    outcome = recorded.run(
        '--record', 'naclip_voc21', '--subset', subset, '--pretrained', 'none', '--cfg-options', *before[1]['overrides']
    )
    assert outcome.code == 0, outcome.stderr
    part = next(entry for entry in recorded.entries() if entry['images']['subset'])
    assert part['images']['count'] == 2 and part['value'] != before[1]['value']
    outcome = recorded.run('--select', 'naclip_voc21')
    assert outcome.code == 0 and outcome.stdout.count('ok ') == 2 and 'part.txt' in outcome.stdout


# ---- what a regression is


def test_an_altered_attention_is_seen(recorded, monkeypatch):
    """The slip of a hand, queries for keys: of NACLIP alone; SCLIP's values stay."""
    attended = NACLIP.attended
    monkeypatch.setattr(
        NACLIP, 'attended', lambda model, query, key, value, trunk: attended(model, query, query, value, trunk)
    )
    was = {entry['config']: entry['value'] for entry in recorded.entries()}
    outcome = recorded.run()
    assert_fails(outcome, f'expected {was["naclip_voc20"]:.4f} +- 0.01', f'expected {was["naclip_voc21"]:.4f} +- 0.01')
    assert outcome.stdout.count('ok ') == 1 and 'sclip_voc21' in outcome.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason='the values of Materials are of CPUs')
def test_an_altered_attention_is_seen_on_materials(capfd, monkeypatch):
    """What CI runs: first as it is, then without NACLIP's Gaussian."""
    select = ('--select', 'naclip_materials24')
    assert run_here(capfd, select, COMMAND).code == 0
    monkeypatch.setattr(NACLIP, 'attended', lambda self, query, key, value, trunk: attend(key, key, value))
    assert_fails(run_here(capfd, select, COMMAND), 'naclip_materials24')


def test_altered_text_is_seen(recorded, monkeypatch):
    """Text vectors that older code left in the cache would hide it."""
    encode = FrozenCLIP.encode_text
    monkeypatch.setattr(FrozenCLIP, 'encode_text', lambda clip, tokens: encode(clip, tokens).roll(1, dims=-1))
    assert_fails(recorded.run('--select', 'naclip'), *2 * ['mIoU is'])


def test_results_of_older_code_are_used_only_where_asked(recorded, monkeypatch, tmp_path):
    store = ('--store', tmp_path / 'store')
    assert recorded.run(*store).code == 0
    monkeypatch.setattr(run_module, '_compute', lambda *_: pytest.fail('computed again'))
    assert recorded.run(*store).code == 0
    with pytest.raises(BaseException, match='computed again'):
        recorded.run()


@pytest.mark.parametrize(('off', 'code'), [(0.009, 0), (0.011, 1), (-0.011, 1)])
def test_tolerance(recorded, off, code):
    recorded.change(lambda entry: entry.update(value=entry['value'] + off))
    outcome = recorded.run('--select', 'sclip')
    assert outcome.code == code
    assert ('mIoU is' in outcome.stdout) == bool(code)


def test_nan_is_a_failure(recorded):
    for name in recorded.bench.names:
        recorded.bench.save_mask(name, np.full((64, 96), 255, np.uint8))
    assert_fails(recorded.run('--select', 'naclip_voc20'), 'mIoU is NaN, expected')
    before = recorded.file.read_bytes()
    outcome = recorded.record('naclip_voc20')
    assert outcome.code == 1 and 'mIoU is NaN; there is nothing to expect' in outcome.stderr
    assert recorded.file.read_bytes() == before


def test_logits_that_are_not_finite_are_a_failure(recorded, monkeypatch):
    monkeypatch.setattr(NACLIP, 'match', lambda model, tokens, text, trunk: tokens[:, 1:] @ text.T * torch.nan)
    assert_fails(recorded.run('--select', 'naclip_voc20'), 'are not finite (NaN or infinite)')


# ---- what a value stands on


def other_weights(regression: Regression, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    path = regression.bench.folder / 'other.pt'
    state = load_clip(json.loads(regression.bench.arch.read_text()), None).model.state_dict()
    torch.save({key: value * 1.5 for key, value in state.items()}, path)
    return ('--pretrained', str(path))


def other_list(regression: Regression, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    regression.bench.list.write_text('p0\np1\np3\n')
    return ()


def other_prompts(regression: Regression, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setitem(TEMPLATES, 'photo', ('a photo of one {}.',))
    return ()


def other_class_names(regression: Regression, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    names = regression.bench.folder / 'voc21.txt'
    bundled = CONFIGS.parent / 'naclip_bench' / 'class_names' / 'voc21.txt'
    names.write_text(bundled.read_text().replace('aeroplane', 'airliner'))
    monkeypatch.setattr('naclip_bench.vocabulary.class_name_file', lambda name: names)
    return ()


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        (other_weights, 'weights differ: recorded random '),
        (other_list, 'images differ: recorded 4 images '),
        (other_prompts, 'prompts differ: recorded '),
        (other_class_names, 'class names differ: recorded '),
    ],
)
def test_a_value_of_something_else_is_not_compared(recorded, monkeypatch, other, said):
    more = other(recorded, monkeypatch)
    monkeypatch.setattr(run_module, '_compute', lambda *_: pytest.fail('computed in vain'))
    assert_fails(recorded.run('--select', 'sclip_voc21', *more), said)


def test_other_kinds_of_device_are_not_compared(recorded):
    recorded.change(lambda entry: entry.update(device='tpu' if entry['config'] == 'sclip_voc21' else 'cpu'))
    outcome = recorded.run()
    assert outcome.code == 0 and 'skip sclip_voc21: recorded on tpu, this is cpu' in outcome.stdout
    recorded.change(lambda entry: entry.update(device='tpu'))
    outcome = recorded.run()
    assert outcome.code == 1 and '0 as expected, 0 not, 3 not compared' in outcome.stdout


# ---- one pass for all


def test_values_share_passes(recorded, monkeypatch):
    """Two datasets, two methods, three values: the images are read and the trunk is run once."""
    windows, trunks = [], FrozenCLIP.trunks

    def counted(clip: FrozenCLIP, images: torch.Tensor, needs: list) -> list:
        windows.append(len(images))
        return trunks(clip, images, needs)

    monkeypatch.setattr(FrozenCLIP, 'trunks', counted)
    assert recorded.run().code == 0
    together = sum(windows)
    windows.clear()
    assert recorded.run('--select', 'sclip_voc21').code == 0
    assert together == sum(windows) > 0


def test_what_cannot_be_run_is_a_failure_of_its_own(recorded):
    """The other values are compared all the same."""
    recorded.change(lambda entry: entry.update(config='nalcip_voc20') if entry['config'] == 'naclip_voc20' else None)
    outcome = recorded.run()
    assert_fails(outcome, 'there is no config nalcip_voc20; did you mean')
    assert '2 as expected, 1 not' in outcome.stdout
    recorded.change(lambda entry: entry['overrides'].append('model.stride'))
    assert_fails(recorded.run('--select', 'sclip'), '"model.stride" is not KEY=VALUE')
    recorded.change(lambda entry: entry['overrides'].pop())
    recorded.bench.image('p1').write_bytes(b'')
    assert_fails(recorded.run('--select', 'sclip'), 'p1.jpg')


# ---- the command line


def assert_one_line(outcome: Outcome, said: str) -> None:
    assert outcome.code == 1 and len(outcome.stderr.splitlines()) == 1 and said in outcome.stderr, outcome.stderr


def test_mistakes_end_in_one_line(regression):
    assert_one_line(regression.run(), 'there are no expected values; record some')
    assert_one_line(regression.run('--subset', 'x.txt'), '--subset goes with --record')
    assert_one_line(regression.run('--record', 'naclip_voc12'), 'did you mean "naclip_voc21"')
    assert not regression.file.exists()
    regression.file.write_text('{"schema": 1, "expected": [{}]}')
    assert_one_line(regression.run(), 'holds no expected values that can be read')


def test_words_that_select_nothing(recorded):
    assert_one_line(recorded.run('--select', 'sclip', 'nothere'), 'no config with an expected value holds "nothere"')
