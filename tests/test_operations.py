"""The count of operations beside the papers' own."""

from __future__ import annotations

import json

import pytest
from golden import TINY
from test_report import report_of

from naclip_bench.configuration import load_config
from naclip_bench.speed.flops import flops_of_config
from naclip_bench.tables.formats import as_csv, as_json, as_latex, as_markdown
from naclip_bench.tables.html import as_html
from naclip_bench.tables.operations import count_operations
from naclip_bench.tables.plan import Options


@pytest.fixture
def counted(tmp_path):
    arch = tmp_path / 'tiny.json'
    arch.write_text(json.dumps(TINY))

    def of(table, dataset, **options):
        settings = {'model.backbone.arch': str(arch)}
        report = report_of(table, options=Options((dataset,), cfg_options=settings, **options), same=True)
        count_operations(report)
        return report

    return of


def flops(report):
    return [line.counted['flops'] for line in report.blocks[0].lines if line.counted]


def test_ratios_are_the_papers_on_a_square_image(counted):
    report = counted('sclip/table4', 'voc21')
    ratios = [text.split('x, ')[0] for text in flops(report)]
    assert (ratios[0], ratios[1], ratios[3]) == ('1.00', '4.00', '9.00')
    assert 2.25 < float(ratios[2]) < 3.5 and 4 < float(ratios[4]) < 8
    of = load_config('sclip_voc21')
    of.model.backbone.arch = TINY
    assert flops(report)[1] == f'4.00x, {flops_of_config(of, (336, 336)).total / 1e9:.1f} GFLOP'
    page, cells = as_html(report), as_json(report)['cells']
    for text, cell in zip(flops(report), cells, strict=True):
        assert cell['counted'] == {'flops': text} and cell['remaining']['flops'] != text
        assert all(text in written for written in (page, as_markdown(report), as_latex(report), as_csv(report)))


def test_modules_of_cliptrase_are_counted_at_one_size(counted):
    """Its CLIP, which is run at 336 pixels, too."""
    report = counted('cliptrase/table2', 'voc20', rows=('Module: CLIP', 'Module: +SCR', 'Image size: 336'))
    clip, recovered, large = (float(text.split('x, ')[0]) for text in flops(report))
    assert clip == 1 < recovered < 1.1 and large > 2


def test_without_the_first_row_there_is_no_ratio(counted):
    report = counted('sclip/table4', 'voc21', rows=('#2',))
    (text,) = flops(report)
    assert 'x' not in text and text.endswith(' GFLOP')


def test_tables_that_print_no_operations_count_none(counted):
    assert flops(counted('naclip/table4', 'voc21')) == []
