"""Charts of tables: what is drawn are the store's scores and the paper's values."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from naclip_bench import cli
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.store import Store
from naclip_bench.figures.bars import draw_bars
from naclip_bench.figures.charts import CHARTS, best_chart, charts_of, on_datasets, report_of
from naclip_bench.figures.curve import draw_curve, points_of
from naclip_bench.figures.grid import clustering, draw_grid
from naclip_bench.figures.radar import draw_radar, spokes_of
from naclip_bench.tables.plan import Options
from naclip_bench.tables.tables import find_table

#: Three images of Materials, in one process.
FEW = dict(limit=3, cfg_options={'test_dataloader.num_workers': 0, 'model.templates': 'photo'})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('results')


@pytest.fixture(scope='module')
def methods(folder):
    rows = ('CLIP', 'NACLIP', 'SCLIP')
    return report_of(find_table('materials/methods'), Options(rows=rows, **FEW), Store(folder))


@pytest.fixture(scope='module')
def sigma(folder):
    table = on_datasets(find_table('naclip/sigma'), ['materials24'])
    # Its rows with PAMR are of official configs, which Materials has none of.
    table = replace(table, rows=tuple(replace(row, config='naclip_{dataset}') for row in table.rows))
    options = Options(('materials24',), rows=('sigma=1', 'sigma=3', 'sigma=10'), **FEW)
    return report_of(table, options, Store(folder))


@pytest.fixture(scope='module')
def grid(folder):
    table = clustering(['materials24'], (0.5, 0.7), (1, 3, 5), 'cliptrase_{dataset}')
    return report_of(table, Options(**FEW), Store(folder))


def scores(report, dataset):
    """What the records of a report say, by a row's label."""
    (block,) = report.blocks
    return {line.label: line.numbers[dataset].result.record['metrics']['mIoU'] for line in block.lines}


def paper(key, **options):
    return report_of(find_table(key), Options(**options), None)


def test_bars_end_at_the_scores_and_lines_span_the_intervals(methods):
    (block,) = methods.blocks
    figure = draw_bars(block)
    for axis, dataset in zip(figure.axes, ('materials24', 'materials25'), strict=True):
        expected = scores(methods, dataset)
        assert axis.get_title() == dataset and axis.get_xlabel() == 'mIoU (%)'
        assert [bar.get_width() for bar in axis.patches] == pytest.approx([*expected.values()])
        numbers = [line.numbers[dataset] for line in block.lines]
        assert [tuple(line.get_xdata()) for line in axis.lines] == [number.interval for number in numbers]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ['CLIP', 'SCLIP', 'NACLIP']
    title = ' '.join(figure.get_suptitle().split())
    assert 'weights: materials; images: materials24 3 of 200; materials25 3 of 200' in title


def test_a_curve_goes_through_the_scores(sigma):
    (block,) = sigma.blocks
    assert [*points_of(block)] == [1, 3, 10] and best_chart(block) == 'curve'
    (axis,) = draw_curve(block).axes
    expected = scores(sigma, 'materials24')
    assert axis.get_xlabel() == 'sigma'
    for line, post in zip(axis.lines, ('none', 'pamr'), strict=True):
        assert line.get_label() == f'post={post}' and [*line.get_xdata()] == [1, 3, 10]
        values = [expected[f'sigma={value} post={post}'] for value in (1, 3, 10)]
        assert [*line.get_ydata()] == pytest.approx(values)


def test_a_grid_holds_the_scores(grid):
    (block,) = grid.blocks
    assert best_chart(block) == 'grid'
    axis = draw_grid(block).axes[0]
    expected = scores(grid, 'materials24')
    values = axis.images[0].get_array()
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('eps', 'min_samples')
    for row, count in enumerate((1, 3, 5)):
        for column, eps in enumerate((0.5, 0.7)):
            assert values[row, column] == pytest.approx(expected[f'eps={eps} min_samples={count}'])


def test_a_radar_is_scaled_axis_by_axis(methods):
    (block,) = methods.blocks
    # Two datasets span nothing: three metrics of each do.
    spokes = spokes_of(block)
    assert len(spokes) == 6 and spokes[:2] == [('materials24', 'mIoU'), ('materials24', 'mAcc')]
    (axis,) = draw_radar(block).axes
    metrics = [[line.numbers[of].result.record['metrics'][metric] for of, metric in spokes] for line in block.lines]
    shares = np.array(metrics) / np.max(metrics, axis=0)
    for line, share in zip(axis.lines, shares, strict=True):
        assert [*line.get_ydata()] == pytest.approx([*share, share[0]])


def test_a_finished_store_is_only_read(methods, folder, monkeypatch):
    def never(*given):
        raise AssertionError('computed again')

    monkeypatch.setattr('naclip_bench.methods.side_by_side.segment', never)
    again = report_of(find_table('materials/methods'), Options(rows=('CLIP', 'NACLIP', 'SCLIP'), **FEW), Store(folder))
    assert scores(again, 'materials24') == scores(methods, 'materials24')


def test_the_papers_values_need_nothing_to_run():
    (block,) = paper('cliptrase/table1', rows=('CLIPtrase', 'SCLIP')).blocks[:1]
    printed = {value.dataset: value.value for value in block.spec.values() if value.row == 'CLIPtrase'}
    (axis,) = draw_radar(block).axes
    assert len(axis.lines) == 2 and len(axis.lines[0].get_xdata()) == len(printed) + 1 == 10
    figure = draw_bars(block)
    assert "the paper's own values" in figure.get_suptitle()
    assert {axis.get_title(): axis.patches[1].get_width() for axis in figure.axes if axis.patches} == printed


def test_bars_of_ours_have_the_papers_value_beside_them(methods):
    (block,) = methods.blocks
    number = block.lines[0].numbers['materials24']
    number.paper, number.digits = 12.5, 1
    try:
        axis = draw_bars(block).axes[0]
        assert [12.5] in [[*line.get_xdata()] for line in axis.lines]
        assert axis.texts[0].get_text() == f'{number.ours:.1f} (paper 12.5)'
    finally:
        number.paper, number.digits = None, 0


@pytest.mark.parametrize(
    ('key', 'chart'), [('gclip/table2', 'curve'), ('gclip/table3', 'curve'), ('naclip/table1', 'bars')]
)
def test_the_chart_that_suits_a_table(key, chart):
    block = paper(key).blocks[0]
    assert best_chart(block) == chart
    assert CHARTS[chart](block).axes


def test_charts_for_a_page(methods, grid, sigma):
    for report in (methods, grid, sigma):
        ((title, (svg,)),) = charts_of(report).items()
        assert title == report.blocks[0].title
        assert ElementTree.fromstring(svg).tag == '{http://www.w3.org/2000/svg}svg'
        # A page that stands alone: nothing is fetched.
        assert svg.startswith('<svg role="img"') and not re.search(r'(href|src|resource)="(?!#|data:)', svg)
    assert charts_of(paper('naclip/table1')) == {}


@pytest.mark.parametrize(
    ('draw', 'key', 'message'),
    [
        (draw_curve, 'naclip/table1', 'the rows of naclip/table1 are not values of one setting'),
        (draw_grid, 'gclip/table2', 'the rows of gclip/table2 are not values of two settings'),
        (draw_radar, 'naclip/table1', '[0-9]+ rows of naclip/table1 in one figure; choose at most 7'),
    ],
)
def test_a_chart_that_does_not_suit_says_so(draw, key, message):
    with pytest.raises(BenchError, match=message):
        draw(paper(key).blocks[0])


def test_nothing_to_draw(folder, tmp_path):
    options = Options(('voc21',), data_root=str(tmp_path), pretrained='none')
    with pytest.raises(BenchError, match='there is nothing to draw of naclip/sigma: voc21: data: there is no'):
        report_of(find_table('naclip/sigma'), options, Store(folder))


def test_the_command(folder, sigma, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ['--limit', '3', '--store', str(folder), '--out', 'drawn/curve.png']
    options += [
        '--rows',
        'sigma=1',
        'sigma=3',
        '--cfg-options',
        'test_dataloader.num_workers=0',
        'model.templates=photo',
    ]
    cli.dispatch(['figure', 'curve', *options])
    assert capsys.readouterr().out.splitlines()[-2:] == ['drawn/curve.png', 'drawn/curve.svg']
    with Image.open('drawn/curve.png') as drawn:
        assert drawn.width > 500
    cli.dispatch(['figure', 'radar', 'cliptrase/table1', '--paper', '--rows', 'CLIPtrase', '--out', 'drawn/radar'])
    assert 'coco_object' in (tmp_path / 'drawn' / 'radar.svg').read_text()
