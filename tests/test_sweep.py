"""A sweep gives what its settings give one by one, from one pass of the trunk and one map for all thresholds."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import TinyBench, run_here

from naclip_bench.bundled import CONFIGS
from naclip_bench.configuration import load_config, parse_settings
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import passes_of
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.figures.numbers import title_of
from naclip_bench.inference import decide as decision
from naclip_bench.inference.decide import NOT_FINITE, decide
from naclip_bench.inference.stitch import PixelLogits
from naclip_bench.inference.windows import Windows
from naclip_bench.tables.plan import Options
from naclip_bench.tables.sweep import make_sweep, parse_axis, sweep_report
from naclip_bench.vocabulary import Vocabulary, printed_names

COMMAND = CONFIGS.parent / 'tools' / 'sweep.py'

OVER = ('--over', 'prob_thd=0:0.1:0.05', '--over', 'background=naclip,none', '--over', 'templates=one')


def sweep(capfd, bench, *more):
    return run_here(capfd, bench.arguments(*more, without=('--work-dir',)), COMMAND)


def test_every_setting_gives_what_it_gives_alone(tmp_path, capfd):
    bench, out = TinyBench(tmp_path), tmp_path / 'out'
    ended = sweep(capfd, bench, *OVER, '--out', str(out))
    assert ended.code == 0, ended.stderr
    assert {path.name for path in out.iterdir()} >= {'table.csv', 'table.html', 'chart.png', 'chart.svg'}
    cells = json.loads((out / 'table.json').read_text())['cells']
    assert [cell['row'] for cell in cells] == ['prob_thd=0', 'prob_thd=0.05', 'prob_thd=0.1'] * 2
    assert [cell['settings'] for cell in cells[::3]] == [
        'background=naclip; templates=one',
        'background=none; templates=one',
    ]
    assert all(cell['low'] <= cell['ours'] <= cell['high'] for cell in cells)
    assert len({cell['run'] for cell in cells}) == 6
    together = Store(bench.work_dir / 'store')
    for index, cell in enumerate(cells):
        names, threshold = ('voc21', 'none_voc21')[index // 3], (0, 0.05, 0.1)[index % 3]
        options = {'model.class_names': names, 'model.prob_thd': threshold, 'model.templates': 'photo'}
        alone = bench.run(capfd, options=options, work_dir=tmp_path / f'alone{index}')
        assert alone.code == 0, alone.stderr
        entry = together.get(cell['run'])
        expected = {name: finished.cells.tolist() for name, finished in entry.images.items()}
        assert bench.finished(tmp_path / f'alone{index}') == expected
        assert bench.result(tmp_path / f'alone{index}')['hashes']['run'] == cell['run']


def logits_of(count: int = 5) -> PixelLogits:
    generator = torch.Generator().manual_seed(0)
    windows = Windows.over((32, 48), 32, 16)
    return PixelLogits(torch.randn((len(windows), count, 2, 2), generator=generator), windows, (40, 50))


@pytest.mark.parametrize('area_thd', [None, 0.2])
def test_all_thresholds_are_decided_from_one_map(monkeypatch, area_thd):
    made = []
    of = decision._winners
    monkeypatch.setattr(decision, '_winners', lambda *rest, **more: made.append(1) or of(*rest, **more))
    query_class, once = torch.tensor([0, 1, 1, 2, 3]), torch.ones(5)
    shared, thresholds = logits_of(), [0.3, 0.5, torch.tensor([0.1, 0.4, 0.6, 0.2]), 0.7]
    together = [decide(shared, query_class, once, 2.0, threshold, area_thd) for threshold in thresholds]
    assert len(made) == (1 if area_thd is None else 2)
    for threshold, labels in zip(thresholds, together, strict=True):
        assert torch.equal(labels, decide(logits_of(), query_class, once, 2.0, threshold, area_thd))
    assert len({tuple(labels.flatten().tolist()) for labels in together}) == len(thresholds)
    # Another rule is another map.
    assert not torch.equal(together[0], decide(shared, query_class, once, 4.0, 0.3, area_thd))
    assert not torch.equal(together[0], decide(shared, query_class.flip(0), once, 2.0, 0.3, area_thd))


def test_a_threshold_hides_no_broken_logits():
    logits = logits_of()
    logits._patches[0] = torch.nan
    labels = decide(logits, torch.arange(5), torch.ones(5), 2.0, torch.full((5,), 0.9))
    assert (labels == NOT_FINITE).any()
    assert torch.equal(labels == NOT_FINITE, decide(logits, torch.arange(5), torch.ones(5), 2.0) == NOT_FINITE)


def test_values_of_an_axis():
    assert [*parse_axis('prob_thd=0:0.6:0.05', 'voc21').values.values()][:4] == [0, 0.05, 0.1, 0.15]
    assert [*parse_axis('prob_thd=0:0.6:0.05', 'voc21').values][-1] == '0.6'
    assert parse_axis('stride=56:112:56', 'voc21').values == {'56': 56, '112': 112}
    assert parse_axis('model.attention=kk,naclip', 'voc21').setting == 'model.attention'
    background = parse_axis('background=naclip,sclip,clearclip,proxyclip,corrclip,none,lposs_voc21', 'voc21')
    names = ['voc21', 'voc21', 'clearclip_voc21', 'proxyclip_voc21', 'corrclip_voc21', 'none_voc21', 'lposs_voc21']
    assert [*background.values.values()] == names
    # ProxyCLIP has none of its own for VOC20.
    assert parse_axis('background=proxyclip', 'voc20').values == {'proxyclip': 'clearclip_voc20'}
    assert parse_axis('templates=openai_80,one', 'voc21').values == {'openai_80': 'openai_80', 'one': 'photo'}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('prob_thd', '"prob_thd" is not SETTING=VALUE,VALUE or SETTING=FIRST:LAST:STEP'),
        ('prob_thd=0:1:0', 'a range is FIRST:LAST:STEP'),
        ('prob_thd=0:1:x', 'a range is FIRST:LAST:STEP'),
        ('prob_thd=1:0:0.5', 'a range is FIRST:LAST:STEP'),
        ('background=proxyclp', 'no class names of proxyclp for voc21; did you mean "proxyclip"'),
    ],
)
def test_an_axis_that_is_none_is_refused(text, message):
    with pytest.raises(BenchError, match=message):
        parse_axis(text, 'voc21')


@pytest.mark.parametrize(
    ('over', 'message'),
    [
        (['prob_thd=0,0.1,2'], 'model.prob_thd is 2'),
        (['sigmma=3'], 'sigmma'),
        (['templates=openai_80,two'], 'unknown templates "two"'),
        (['background=naclip', 'class_names=voc20'], 'model.class_names is swept twice'),
    ],
)
def test_all_settings_are_checked_before_anything_runs(tmp_path, capfd, over, message):
    bench = TinyBench(tmp_path)
    ended = sweep(capfd, bench, *(word for text in over for word in ('--over', text)))
    assert ended.code == 1 and message in ended.stderr and ended.stderr.count('\n') == 1
    assert not (bench.work_dir / 'store').exists()


def test_a_sweep_on_what_is_scored_says_so(tmp_path):
    """Names of the official list are marked in numbers, titles and print; those of other images are not."""
    for name, marked in (('2007_000033', True), ('p0', False)):
        bench = TinyBench(tmp_path / name, count=1)
        bench.image('p0').rename(bench.image(name))
        bench.mask('p0').rename(bench.mask(name))
        bench.list.write_text(f'{name}\n')
        words = bench.arguments()
        options = Options(
            data_root=str(bench.folder / 'data'),
            pretrained='none',
            cfg_options=parse_settings(words[words.index('--cfg-options') + 1 :]),
        )
        axes = [parse_axis('prob_thd=0.05,0.1', 'voc21')]
        plan = make_sweep('naclip_voc21', load_config('naclip_voc21'), axes, options)
        report = sweep_report(plan, run(plan.passes, Selection(), Store(tmp_path / name / 'store')), options)
        assert ('T' in report.marks()) == marked
        assert ('swept on images that are scored' in title_of(report.blocks[0])) == marked


def test_a_class_without_words():
    vocabulary = Vocabulary('none_voc21')
    assert (len(vocabulary), vocabulary.classes[0], int(vocabulary.query_class[0])) == (21, [], 1)
    assert vocabulary.queries == Vocabulary('voc21').queries[26:]
    assert printed_names('none_voc21')[:2] == ('background', 'aeroplane')
    # Behind the first line it is a word like any other, and so it is alone.
    assert Vocabulary.of_words(['boat', '-']).classes[1] == ['-']
    assert Vocabulary.of_words(['-']).classes == [['-']]


@pytest.mark.parametrize('dataset', ['voc21', 'pc60', 'coco_object'])
def test_without_background_words_the_classes_are_the_same(dataset):
    assert Vocabulary(f'none_{dataset}').classes[1:] == Vocabulary(dataset).classes[1:]


def test_leaves_of_a_sweep_make_one_pass():
    axes = [parse_axis(text, 'voc21') for text in ('prob_thd=0:0.6:0.05', 'background=naclip,none', 'templates=one')]
    plan = make_sweep('naclip_voc21', load_config('naclip_voc21'), axes, Options())
    assert (len(plan.passes), len(plan.leaves)) == (1, 26)
    assert passes_of([Leaf('naclip_voc21', load_config('naclip_voc21')), *plan.leaves])[0].title == 'voc21'
