"""The table of all methods and cited systems: what each needs, its paper's mean, and what it costs here."""

from __future__ import annotations

import json

import pytest
from tiny import run_here

from naclip_bench.bundled import CONFIGS
from naclip_bench.configuration import method_bases
from naclip_bench.errors import BenchError
from naclip_bench.tables.costs import put_costs, read_costs
from naclip_bench.tables.formats import print_report
from naclip_bench.tables.papers import MEAN
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.report import make_report
from naclip_bench.tables.rows.frontier import METHODS
from naclip_bench.tables.tables import TABLES

TABLE = TABLES['frontier/table1']
TOOL = CONFIGS.parent / 'tools' / 'reproduce.py'
COSTS = {
    'about': {
        'dataset': 'voc21',
        'images': 4,
        'precision': 'fp32',
        'device': {'name': 'a machine', 'threads': 2},
        'date': '2026-11-27T00:00:00+00:00',
    },
    'methods': {'naclip': {'seconds': 1.25, 'memory': 3 * 2**20}, 'proxyclip': {'seconds': 4, 'memory': 9 * 2**20}},
}


@pytest.fixture(scope='module')
def plan():
    return make_plan([TABLE], Options())


def test_every_method_of_the_suite_is_in_it(plan):
    assert {*METHODS.values()} == {*method_bases()}
    for row in TABLE.rows[: len(METHODS)]:
        assert sum(len(cell.leaves) for cell in plan.cells if cell.row is row) == 8, row.name


def test_a_cited_system_has_its_mean_alone(plan):
    for row in TABLE.rows[len(METHODS) :]:
        (cell,) = [cell for cell in plan.cells if cell.row is row]
        assert row.cited and cell.dataset == MEAN and not cell.leaves and cell.paper.value > 43
    few = make_plan([TABLE], Options(datasets=('voc21',)))
    assert not any(cell.row.cited for cell in few.cells), 'a mean of eight is none of one'
    with pytest.raises(BenchError, match='no row that "conceptbank" names has a number on voc21, ade20k'):
        make_plan([TABLE], Options(datasets=('voc21', 'ade20k'), rows=('NACLIP', 'conceptbank')))


def test_what_is_printed(plan, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv('COLUMNS', '300')
    path = tmp_path / 'costs.json'
    path.write_text(json.dumps(COSTS))
    report = make_report(plan, {}, [TABLE], Options())
    put_costs(report, read_costs(path))
    print_report(report)
    lines = [line.replace('│', ' ').split() for line in capfd.readouterr().out.splitlines()]

    def line_of(*begin):
        return next(line for line in lines if line[: len(begin)] == list(begin))

    assert {'67.1', 'bank', '2602.06333'} <= {*line_of('ConceptBank', 'cited')}
    assert '39.4' in line_of('NACLIP', 'paper')
    assert {'1.25', '3'} <= {*lines[lines.index(line_of('NACLIP', 'paper')) + 1]}
    assert {'4.00', '9'} <= {*lines[lines.index(line_of('ProxyCLIP', 'paper')) + 1]}
    # Without a mean of its paper a row has one line, and says what it needs.
    assert 'CLIP' in line_of('GEM', 'ours') and '2312.00878' in line_of('GEM', 'ours')
    text = ' '.join(' '.join(line) for line in lines)
    assert '4 images of voc21, fp32, a machine, 2 threads, 2026-11-27' in text
    assert 'its abstract says 50.7' in text


@pytest.mark.parametrize(
    ('content', 'message'), [(None, 'cannot read'), ('{}', 'is no file of costs'), ('[', 'is no file of costs')]
)
def test_costs_that_are_none(tmp_path, content, message):
    path = tmp_path / 'costs.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(BenchError, match=message):
        read_costs(path)


def test_costs_are_looked_for_before_anything_is_run(capfd, tmp_path):
    ended = run_here(capfd, ['frontier/table1', '--costs', tmp_path / 'none.json'], TOOL)
    assert ended.code != 0 and 'cannot read' in ended.stderr
