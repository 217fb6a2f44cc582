"""Charts of a table's numbers: what they are read from, and which chart suits a table.

Numbers come from the store as a table's do: what it lacks is computed first. ``charts_of(report)`` gives every chart of
a report as SVG, for a page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from ..errors import BenchError, bench_error_in
from ..evaluation.opened import Pass
from ..evaluation.run import run
from ..evaluation.store import Store
from ..tables.plan import Options, make_plan
from ..tables.report import MEAN, Block, Number, Report, make_report
from ..tables.tables import TableSpec
from .bars import draw_bars
from .canvas import as_svg
from .curve import draw_curve, points_of
from .grid import draw_grid, places_of
from .radar import draw_radar

if TYPE_CHECKING:
    from .canvas import Figure

#: Charts by their names.
CHARTS: dict[str, Callable[[Block], Figure]] = {
    'bars': draw_bars,
    'curve': draw_curve,
    'grid': draw_grid,
    'radar': draw_radar,
}


def on_datasets(table: TableSpec, datasets: Sequence[str] | None) -> TableSpec:
    """The rows of a table on any datasets; the table itself where all of these are its own."""
    own = {dataset for dataset, _ in table.columns()}
    if datasets is None or own >= set(datasets):
        return table
    # The paper prints nothing of them.
    return replace(table, key=f'own/{table.key.replace("/", "-")}', datasets=tuple(datasets), note='', mean=False)


def report_of(
    table: TableSpec, options: Options, store: Store | None, skip: Callable[[str], None] = lambda line: None
) -> Report:
    """A table's numbers.

    Args:
        table: from :func:`on_datasets`.
        options: which rows and images, with which weights.
        store: has results, and gets what it lacks; None: the paper's own values alone.
        skip: told of what is left out because its data or weights are not there.

    Raises:
        BenchError: there is no number at all.
    """
    plan = make_plan([table], options)
    problems: list[str] = []

    def leave_out(pass_: Pass, error: BenchError) -> None:
        problems.append(f'{pass_.title}: {bench_error_in(error)}')

    results = run(plan.passes, options.selection, store, keep_going=True, skip=leave_out) if store else {}
    report = make_report(plan, results, [table], options)
    report.blocks = [block for block in report.blocks if any(_has_value(number, store) for number in block.numbers())]
    if not report.blocks:
        why = problems[0] if problems else 'no row runs on these datasets, and the paper prints no value'
        raise BenchError(f'there is nothing to draw of {table.key}: {why}')
    for problem in problems:
        skip(problem)
    return report


def _has_value(number: Number, store: Store | None) -> bool:
    return number.ours is not None if store else number.paper is not None


def best_chart(block: Block) -> str:
    """The chart that suits a table: curve or grid where its rows are values of one setting or of two, else bars."""
    if places_of(block):
        return 'grid'
    return 'curve' if len(points_of(block)) > 1 else 'bars'


def charts_of(report: Report) -> dict[str, list[str]]:
    """Draw the charts of a report's blocks as ``<svg>`` elements, by their titles, for a page that stands alone.

    Blocks without any value have none; a radar is added where a block has three datasets or more.
    """
    found = {}
    for block in report.blocks:
        if not any(number.ours is not None for number in block.numbers()):
            continue
        drawn = [CHARTS[best_chart(block)](block)]
        datasets = [name for name in block.datasets if name != MEAN]
        if best_chart(block) == 'bars' and len(datasets) > 2 and len(block.lines) > 1:
            drawn.append(draw_radar(block))
        found[block.title] = [_element(figure, block.title) for figure in drawn]
    return found


def _element(figure: Figure, title: str) -> str:
    """A figure as it stands in a page: without the head of a file, and with words for who cannot see it."""
    svg = as_svg(figure)
    return svg[svg.index('<svg') :].replace('<svg ', f'<svg role="img" aria-label="{escape(title)}" ', 1)
