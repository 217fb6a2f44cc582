"""Rows run what the paper ran, or say where they may not; what the papers print besides values is stored."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from test_report import compared, report_of

from naclip_bench.configuration import load_config, parse_settings
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


def test_every_value_that_the_papers_print_is_run_computed_or_cited_with_a_reason():
    plan = make_plan(list(TABLES.values()), Options())
    first = [cell for cell in plan.cells if cell.row.lacks(cell.dataset)]
    ways = (
        bool(cell.leaves) + (cell.closed_form is not None) + bool(cell.row.cited) + (cell in first)
        for cell in plan.cells
    )
    assert set(ways) == {1}
    # No other row waits for what the suite makes.
    assert {(cell.table, cell.row.name) for cell in first} <= {('sclip/table2', 'Learned projection')}
    assert not [cell for cell in plan.cells if cell.row.cited and len(cell.row.cited) < 10]


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


@pytest.mark.parametrize(
    ('table', 'row', 'short', 'weighed'),
    [
        ('table1', 'CLIP', 336, False),
        ('table1', 'SCLIP', 336, False),
        ('table1', 'CLIPtrase', 336, True),
        # Its values are those of 336 pixels, whatever the paper says of 224.
        ('table2', 'Module: CLIP', 336, False),
        ('table2', 'Module: +SCR', 224, True),
        ('table3', 'CLIP', 336, False),
        # 67.77 can only be a value with [CLS]'s weight.
        ('table4', 'w/o SCR', 224, True),
        ('table6', 'CLIP', 224, False),
        ('table6', 'SCLIP', 224, False),
        ('table7', 'CLIP', 336, False),
        ('table7', 'SCLIP', 336, False),
    ],
)
def test_which_rows_of_cliptrase_weigh_by_cls_on_voc20(table, row, short, weighed):
    (leaf,) = cell_of(f'cliptrase/{table}', row, 'voc20').leaves
    assert leaf.config.model.get('weigh_by_cls', False) is weighed
    assert leaf.config.test_dataloader.dataset.pipeline[2]['size'] == short
    if not weighed or row in ('w/o SCR', 'Module: +SCR'):
        assert 'VOC20' in remark_of(f'cliptrase/{table}', row)


def test_the_values_of_cliptrases_clip_are_those_of_336_pixels():
    """Why Table 2's CLIP is run at that size."""
    printed = {
        (value.table, value.row, value.dataset): value.value
        for value in papers.values()
        if value.metric == 'mIoU' and value.paper == 'cliptrase'
    }
    for dataset in ('coco_stuff', 'voc20', 'pc59', 'ade20k'):
        value = printed['table2', 'Module: CLIP', dataset]
        assert value == printed['table7', 'CLIP', dataset] != printed['table6', 'CLIP', dataset]


def test_maskclip_and_clip_surgery_need_no_training_in_cliptrases_table():
    assert model_of('cliptrase/table1', 'MaskCLIP', 'voc21').type == 'MaskCLIP'
    assert model_of('cliptrase/table1', 'CLIP Surgery', 'pc59').type == 'CLIPSurgery'
    assert 'without training' in remark_of('cliptrase/table1', 'MaskCLIP')


@pytest.mark.parametrize('dataset', ['pc459', 'ade847'])
@pytest.mark.parametrize('size', [224, 336])
def test_cliptrase_on_the_large_datasets(dataset, size):
    table = {224: 'table6', 336: 'table7'}[size]
    (leaf,) = cell_of(f'cliptrase/{table}', 'CLIPtrase', dataset).leaves
    model = leaf.config.model
    assert (model.window, model.vote) == (None, 'labels')
    assert (model.eps, model.min_samples) == ((0.7, 3) if size == 224 else (1.1, 7))
    assert leaf.config.test_dataloader.dataset.pipeline[2] == dict(type='CentralSquare', size=size)
    assert leaf.config.test_evaluator.type == 'SmoothedMetric'
    assert all(len(names) == 1 for names in Vocabulary(model.class_names).classes)


def test_random_projections_are_the_mean_of_five_seeds():
    cell = cell_of('sclip/table2', 'Random projection n=4', 'voc21')
    assert [leaf.config.model.seed for leaf in cell.leaves] == [0, 1, 2, 3, 4]
    report = report_of('sclip/table2', options=Options(datasets=('voc21',), rows=('Random projection n=4', 'Default')))
    mean, one = (line.numbers['voc21'] for line in report.blocks[0].lines)
    # What is made up for the leaves, in their order, rises by 1.
    assert mean.ours == pytest.approx(30 + 1 / 3 + 2) and mean.interval is None and one.interval is not None
    assert [entry['trials'] for entry in formats.entries(report)] == [5, 1]
    assert len(report.results()) == 6
    with pytest.raises(BenchError, match='is the mean of 5 runs'):
        compared(['sclip/table2'], ['Random projection n=4', 'Default'])


def test_the_learned_projection_is_run_once_it_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = Options(rows=('Learned projection',))
    plan = make_plan(find_tables(['sclip/table2']), options)
    assert [cell.dataset for cell in plan.cells] == ['voc21', 'pc59', 'coco_stuff'] and not plan.leaves
    print_plan(plan, options)
    said = ' '.join(capsys.readouterr().out.split())
    assert '3 once another command has run' in said
    assert 'naclip-bench learn sclip_pc59 --out work_dirs/projections/pc59.safetensors' in said
    file = tmp_path / 'work_dirs' / 'projections' / 'voc21.safetensors'
    file.parent.mkdir(parents=True)
    file.touch()
    (model,) = (leaf.config.model for leaf in make_plan(find_tables(['sclip/table2']), options).leaves)
    assert (model.attention, model.projection) == ('learned', 'work_dirs/projections/voc21.safetensors')
    report = report_of('sclip/table2', options=options)
    found = {entry['dataset']: (entry['how'], entry['ours'] is None) for entry in formats.entries(report)}
    assert found == {'voc21': ('run', False), 'pc59': ('not run', True), 'coco_stuff': ('not run', True)}
    notes = ' '.join(report.blocks[0].notes())
    assert 'sclip_pc59' in notes and 'sclip_voc21' not in notes


def test_what_is_to_be_run_first_names_configs_and_settings_that_there_are():
    (row,) = (row for row in TABLES['sclip/table2'].rows if row.first)
    for dataset, first in row.first.items():
        words = first.command.split()
        assert words[:4] == ['naclip-bench', 'learn', f'sclip_{dataset}', '--out'] and words[4] == first.file
        settings = parse_settings(words[words.index('--cfg-options') + 1 :])
        dataset_of = load_config(words[2], cfg_options=settings).test_dataloader.dataset
        assert 'train' in (dataset_of.get('ann_file') or dataset_of.data_prefix.img_path)


def test_cliptrase_within_the_truth_and_with_dinov2():
    (leaf,) = cell_of('cliptrase/table4', 'COS(x_i,x_j), j in GT', 'pc59').leaves
    (beside,) = cell_of('cliptrase/table4', 'COS(x_i,x_j)', 'pc59').leaves
    steps = list(beside.config.test_dataloader.dataset.pipeline)
    steps[-1:-1] = [dict(type='MaskBesideImage')]
    assert leaf.config.test_dataloader.dataset.pipeline == steps
    assert leaf.config.model == {**beside.config.model, 'within': 'truth'}
    dinov2, ours = (model_of('cliptrase/table5', row, 'voc20') for row in ('CLIPtrase + DINOv2', 'CLIPtrase'))
    assert (dinov2.helper.pretrained, dinov2.denoise) == ('lvd142m', False)
    assert {key for key in dinov2 if dinov2[key] != ours.get(key)} == {'helper', 'denoise'}


def test_naclips_equations_that_have_no_values_are_rows():
    for row, attention in (('N-Only, unscaled', 'gaussian'), ('Vanilla + Gaussian', 'qk_gaussian')):
        cell = cell_of('naclip/table3', row, 'voc21')
        assert cell.paper is None
        (leaf,) = cell.leaves
        assert (leaf.config.model.attention, leaf.config.model.arch) == (attention, 'vanilla')
        assert 'eq.' in remark_of('naclip/table3', row)


def test_naclip_has_voc_whole_with_pamr_and_both_without():
    assert 'window' not in model_of('naclip/table1', 'NACLIP', 'voc21', 'none')
    whole = model_of('naclip/table1', 'NACLIP, VOC whole', 'voc21')
    assert (whole.window, whole.refine) == (None, None)
    for table, row in (('table1', 'NACLIP'), ('sigma', 'sigma=3')):
        model = model_of(f'naclip/{table}', row, 'voc21', 'pamr')
        assert (model.window, model.refine.iterations) == (None, 10)
    for table in ('table2', 'table3', 'table4', 'sigma'):
        assert 'VOC' in TABLES[f'naclip/{table}'].note


def test_notes_on_settings_that_are_not_printed():
    assert 'metaclip_fullcc' in TABLES['gclip/table6'].note
    assert 'PAMR' in TABLES['sclip/table1'].note and 'PAMR' in remark_of('sclip/table1', 'MaskCLIP', 'pamr')
    assert 'eps' in remark_of('cliptrase/table2', 'Cluster: features')
    assert 'eps' in remark_of('cliptrase/table2', 'Correlation: inner product')


def test_a_remark_stands_in_every_format_and_in_the_dry_run(capsys):
    report = report_of('cliptrase/table3', options=Options(datasets=('voc20',)))
    said = "PC459's mIoU is printed as 9.95 in Tables 1 and 3 and as 10.11 in Table 7"
    print_report(report)
    printed = capsys.readouterr().out
    print_plan(make_plan(find_tables(['cliptrase/table3']), Options(datasets=('voc20',))), Options())
    planned = capsys.readouterr().out
    written = [as_markdown(report), as_latex(report), as_csv(report), as_html(report).replace('&#39;', "'")]
    for text in (printed, planned, *written):
        assert said in ' '.join(text.split())
    assert said in {cell['remark'] for cell in as_json(report)['cells']}
    assert 'SCR+D+SAM: its code was not released' in ' '.join(planned.split())


def test_the_value_that_is_a_slip_of_the_paper_is_stored_as_printed():
    cell = cell_of('gclip/table3', 'CS from block 10', 'pc59')
    assert cell.paper.value == 5.9 and '35.9' in cell.row.remark


def test_averages_are_the_papers_and_those_that_are_none_are_told():
    report = report_of('cliptrase/table3', same=True)
    (block,) = report.blocks
    assert [line.numbers[MEAN].paper_text for line in block.lines] == ['10.02', '33.54', '34.49']
    (said,) = (note for note in block.notes() if 'averages' in note)
    assert said == (
        "The paper's averages (mIoU) that are not the mean of the values beside them: "
        'CLIP 10.02 (mean 11.04); SCR+PC+D 33.54 (mean 33.53); SCR+D+SAM 34.49 (mean 34.50).'
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
    assert (len(lines), len(papers.values()), averages, remaining) == (1199, 951, 132, 116)
