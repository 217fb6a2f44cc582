"""Reproduce a paper's tables: run what they need, once, and print them beside ours.

python tools/reproduce.py naclip/table1
python tools/reproduce.py all --dry-run
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import BenchError, CommandParser, run_command


def parse_arguments() -> argparse.Namespace:
    from naclip_bench.configuration import add_model_arguments, add_run_arguments

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('tables', nargs='+', metavar='TABLE', help='naclip/table1, ... (tools/list.py tables), or "all"')
    add('--datasets', nargs='+', metavar='NAME', help='only these datasets')
    add('--rows', nargs='+', metavar='ROW', help='only these rows: by name, name and settings, or a part of the name')
    add('--limit', type=int, metavar='N', help='only the first N images')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add_model_arguments(parser)
    add_run_arguments(parser)
    add('--keep-going', action='store_true', help='leave out what cannot be run, and report the rest')
    add('--dry-run', action='store_true', help='print what would be computed, and compute nothing')
    add('--cost-beside', metavar='ROW', help='measure what the runs cost together beside ROW alone, and store nothing')
    add('--compare', nargs=2, metavar='ROW', help='test two rows against each other, image by image')
    add('--out', type=Path, metavar='DIR', help='write table.md, .tex, .csv, .json and .html into DIR')
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    from naclip_bench.configuration import register

    register()
    from mmengine.dist import is_main_process

    from naclip_bench.errors import bench_error_in
    from naclip_bench.evaluation.opened import Pass
    from naclip_bench.evaluation.processes import join_processes
    from naclip_bench.evaluation.run import run
    from naclip_bench.evaluation.store import Store
    from naclip_bench.files import make_folder
    from naclip_bench.optional import needed
    from naclip_bench.speed.tables import print_sharing, sharing
    from naclip_bench.tables.compare import compare, find_row, find_rows
    from naclip_bench.tables.formats import print_plan, print_report, write_report
    from naclip_bench.tables.plan import Options, make_plan
    from naclip_bench.tables.report import make_report
    from naclip_bench.tables.tables import find_tables

    tables = find_tables(arguments.tables)
    options = Options(
        arguments.datasets,
        arguments.rows,
        arguments.data_root,
        arguments.pretrained,
        arguments.precision,
        arguments.cfg_options or {},
        arguments.limit,
        arguments.subset,
    )
    plan = make_plan(tables, options)
    rows = find_rows(plan, arguments.compare) if arguments.compare else None
    beside = find_row(plan, arguments.cost_beside, '--cost-beside') if arguments.cost_beside else None
    if arguments.dry_run:
        print_plan(plan, options)
        return 0
    if beside:
        for option in ('compare', 'out'):
            if getattr(arguments, option) is not None:
                raise BenchError(f'--{option.replace("_", "-")} does not go with --cost-beside, which only measures')
        print_sharing(sharing(plan, beside, options))
        return 0
    join_processes(arguments.launcher)
    make_folder('--out', arguments.out)
    if arguments.out:
        needed('jinja2', 'report', 'the report as HTML')
    problems: list[str] = []

    def skip(pass_: Pass, error: BenchError) -> None:
        problems.append(f'{pass_.title}: {bench_error_in(error)}')

    results = run(
        plan.passes,
        options.selection,
        Store(arguments.store),
        fresh=arguments.fresh,
        keep_going=arguments.keep_going,
        skip=skip,
    )
    if not is_main_process():
        return 0
    report = make_report(plan, results, tables, options)
    if rows:
        report.comparisons = compare(*rows, results)
    print_report(report)
    if arguments.out:
        for path in write_report(report, arguments.out):
            print(path)
    for problem in problems:
        print(f'not run: {problem}', file=sys.stderr)
    return 1 if problems else 0


if __name__ == '__main__':
    run_command(main)
