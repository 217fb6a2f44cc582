"""Rows run what the paper ran, or say where they may not; what the papers print besides values is stored."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from test_report import compared, report_of

from naclip_bench.errors import BenchError
from naclip_bench.evaluation.record import short_side
from naclip_bench.tables import formats, papers
from naclip_bench.tables.formats import as_csv, as_json, as_latex, as_markdown, print_plan, print_report
from naclip_bench.tables.html import as_html
from naclip_bench.tables.plan import Cell, Options, make_plan
from naclip_bench.tables.report import MEAN
from naclip_bench.tables.spec import Row
from naclip_bench.tables.tables import TABLES, find_tables
from naclip_bench.vocabulary import Vocabulary


def cell_of(table: str, row: str, dataset: str, settings: str = '') -> Cell:
    """The mIoU of a row that is the only one so called with such settings."""
    plan = make_plan(find_tables([table]), Options(datasets=(dataset,)))
    (cell,) = (
        cell
        for cell in plan.cells
        if cell.row.name == row and settings in cell.row.settings and cell.metric in ('mIoU', 'accuracy')
    )
    return cell


def model_of(*where: str) -> dict:
    (leaf,) = cell_of(*where).leaves
    return leaf.config.model


def remark_of(table: str, row: str, settings: str = '') -> str:
    (found,) = (of for of in TABLES[table].rows if of.name == row and settings in of.settings)
    return found.remark


@pytest.mark.parametrize('dataset', ['voc20', 'pc59', 'ade20k', 'cityscapes', 'coco_stuff'])
def test_gclips_maskclip_is_the_released_one(dataset):
    """Its Table 1 says so by a dagger."""
    (leaf,) = cell_of('gclip/table1', 'MaskCLIP', dataset).leaves
    model = leaf.config.model
    assert (model.form, model.window, model.backbone.colors) == ('released', None, 'imagenet')
    assert (short_side(leaf.config), leaf.config.protocol) == (520 if dataset == 'pc59' else 512, 'official')
    assert len(Vocabulary(model.class_names, model.templates).templates) == 85
    assert 'released source' in remark_of('gclip/table1', 'MaskCLIP')


@pytest.mark.parametrize('dataset', ['voc20', 'pc59', 'ade20k', 'cityscapes', 'coco_stuff'])
def test_gclips_own_rows_have_one_name_a_class(dataset):
    rows = [('gclip/table1', 'GCLIP'), ('gclip/table1', 'ClearCLIP + CS'), ('gclip/table2', 'l=1')]
    rows += [('gclip/table3', 'CS from block 7'), ('gclip/table4', 'AMF'), ('gclip/table5', 'Global')]
    if dataset != 'pc59':
        rows += [
            ('gclip/table6', name, backbone) for name in ('CLIP', 'ClearCLIP', 'GCLIP') for backbone in ('Open', 'Meta')
        ]
    for table, row, *settings in rows:
        model = model_of(table, row, dataset, *settings)
        assert all(len(names) == 1 for names in Vocabulary(model.class_names).classes), (table, row)


def test_what_gclip_quotes_of_clearclip_runs_as_clearclip_does():
    ours = model_of('gclip/table1', 'ClearCLIP', 'voc20')
    assert (ours.type, ours.get('attention', 'qq')) == ('ClearCLIP', 'qq')
    clip = model_of('gclip/table1', 'CLIP', 'voc20')
    assert (clip.attention, clip.residual) == ('vanilla', True)
    gem = model_of('gclip/table1', 'GEM', 'voc20')
    assert gem.type == 'GEM'
    for model in (ours, clip, gem):
        assert (model.window, model.stride, model.logit_scale, model.class_names) == (448, 224, 50, 'clearclip_voc20')
    assert all(
        "ClearCLIP's official protocol" in remark_of('gclip/table1', row) for row in ('CLIP', 'GEM', 'ClearCLIP')
    )


def test_the_value_that_is_a_slip_of_the_paper_is_stored_as_printed():
    cell = cell_of('gclip/table3', 'CS from block 10', 'pc59')
    assert cell.paper.value == 5.9 and '35.9' in cell.row.remark


def test_averages_are_the_papers_and_those_that_are_none_are_told():
    report = report_of('cliptrase/table3', same=True)
    (block,) = report.blocks
    assert [line.numbers[MEAN].paper_text for line in block.lines] == ['10.02', '33.54', '34.49']
    (said,) = (note for note in block.notes() if note.startswith('Averages'))
    assert said == (
        'Averages (mIoU) that are not the mean of the values beside them: '
        'CLIP 10.02 for 11.04; SCR+PC+D 33.54 for 33.53; SCR+D+SAM 34.49 for 34.50.'
    )
    assert not TABLES['naclip/table1'].wrong_averages(TABLES['naclip/table1'].rows, 'mIoU')


def test_columns_of_no_dataset_are_shown_as_printed(capsys):
    report = report_of('naclip/table1', 'sclip/table4', 'cliptrase/table2', same=True)
    fair = {line.label: line.remaining['fair'] for line in report.blocks[0].lines if line.remaining}
    assert [name for name, said in fair.items() if said == 'no'] == [
        f'{name} post={post}'
        for post, names in (
            ('none', ('GroupViT', 'CLIP-DIY')),
            ('yes', ('ReCo', 'TCL', 'FreeSeg-Diff', 'FOSSIL', 'PnP-OVSS')),
        )
        for name in names
    ]
    print_report(report)
    assert '~9x' in capsys.readouterr().out
    assert (
        r'| \~9x |' in as_markdown(report) and r'\textasciitilde{}9x' in as_latex(report) and '>~9x<' in as_html(report)
    )
    remaining = {(cell['table'], cell['row'], cell['settings']): cell['remaining'] for cell in as_json(report)['cells']}
    assert remaining['naclip/table1', 'GroupViT', 'post=none'] == {'mean': '30.7', 'fair': 'no'}
    assert remaining['cliptrase/table2', 'Module: +SCR+PC', 'size=224'] == {'mean': '38.02', 'flops': 'x1.9'}
    assert 'mean=13.6 fair=yes' in as_csv(report)


def test_a_row_is_added_by_one_line():
    """What a paper has and no code had yet: a name, settings, and what runs."""
    row = Row(
        'q-k + Gaussian',
        'arch=reduced',
        'naclip_{dataset}',
        {'model.attention': 'vanilla'},
        on={'voc20': {'model.sigma': 3}},
    )
    assert row.runs_on('voc20') == [{'model.attention': 'vanilla', 'model.sigma': 3}]
    assert row.runs_on('pc59') == [{'model.attention': 'vanilla'}]


def test_all_that_is_stored_is_a_row_of_a_table():
    """Nothing of papers.csv is left out, whatever its kind."""
    lines = list(csv.DictReader(Path(papers.__file__).with_name('papers.csv').open(newline='')))
    of_rows = {(key, row.name, row.settings) for key, spec in TABLES.items() for row in spec.rows}
    assert {(f'{e["paper"]}/{e["table"]}', e['row'], e['settings']) for e in lines} <= of_rows
    remaining = sum(len(columns) for spec in TABLES.values() for columns in spec.remaining_columns().values())
    averages = sum(len(spec.averages()) for spec in TABLES.values())
    assert (len(lines), len(papers.values()), averages, remaining) == (1086, 951, 111, 24)
