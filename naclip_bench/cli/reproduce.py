"""Run what papers' tables need, once, and print them beside ours.

naclip-bench reproduce naclip/table1
naclip-bench reproduce all --dry-run
naclip-bench reproduce --import my_method.py --method mymethod,naclip --dataset voc21,pc60
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import product
from pathlib import Path

from ..errors import BenchError, bench_error_in, say
from .arguments import add_data_root, add_model_arguments, add_part, add_run_arguments, options_of


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('tables', nargs='*', metavar='TABLE', help='naclip/table1, ... (see the list), or "all"')
    add('--method', metavar='METHODS', help='a table of these methods, comma between them, on each --dataset')
    add('--dataset', metavar='DATASETS', help='of --method: datasets, comma between them')
    add(
        '--add-row',
        nargs='+',
        action='append',
        default=[],
        metavar='WORD',
        help='a row more in every table: a method (or official/METHOD), and KEY=VALUE settings of it; repeatable',
    )
    add('--datasets', nargs='+', metavar='NAME', help='only these datasets')
    add('--rows', nargs='+', metavar='ROW', help='only these rows: by name, name and settings, or a part of the name')
    add(
        '--refine',
        nargs='+',
        default=[],
        metavar='NAME',
        help='a column more of each dataset, refined: PAMR, DenseCRF, PixelGraph',
    )
    add_part(parser)
    add_data_root(parser)
    add_model_arguments(parser)
    add_run_arguments(parser)
    add('--keep-going', action='store_true', help='leave out what lacks something, and run the rest')
    add('--dry-run', action='store_true', help='print what would be computed, and compute nothing')
    add('--cost-beside', metavar='ROW', help='measure what the runs cost together beside ROW alone, and store nothing')
    add('--costs', type=Path, metavar='FILE', help='what methods cost, by `benchmark --beside --out FILE`, as columns')
    add('--compare', nargs=2, metavar='ROW', help='test two rows against each other, image by image')
    add('--out', type=Path, metavar='DIR', help='write table.md, .tex, .csv, .json and .html into DIR')


def main(arguments: Namespace) -> int:
    from ..configuration import check_pair, dataset_bases, register

    register()
    from mmengine.dist import is_main_process

    from ..evaluation.opened import Pass
    from ..evaluation.processes import join_processes
    from ..evaluation.run import run
    from ..evaluation.store import Store
    from ..files import make_folder
    from ..optional import needed
    from ..speed.tables import print_sharing, sharing
    from ..tables.compare import compare, find_row, find_rows
    from ..tables.costs import put_costs, read_costs
    from ..tables.estimate import check_room
    from ..tables.formats import print_plan, print_report, write_report
    from ..tables.operations import count_operations
    from ..tables.plan import make_plan
    from ..tables.report import make_report
    from ..tables.tables import find_tables, table_of_methods, with_rows

    tables = find_tables(arguments.tables)
    if arguments.method or arguments.dataset:
        if not (arguments.method and arguments.dataset):
            raise BenchError('--method and --dataset go together')
        methods, datasets = arguments.method.split(','), arguments.dataset.split(',')
        for pair in product(methods, datasets):
            check_pair(*pair)
        for name in datasets:
            if name not in dataset_bases():
                raise BenchError(f'--dataset {name}: a table wants names; let a plugin give this one a name (DATASETS)')
        tables.append(table_of_methods(methods, datasets))
    tables = [with_rows(table, arguments.add_row) for table in tables]
    if not tables:
        raise BenchError('name a table, or give --method and --dataset')
    options = options_of(arguments, arguments.datasets, arguments.rows, arguments.refine)
    plan = make_plan(tables, options)
    rows = find_rows(plan, arguments.compare) if arguments.compare else None
    costs = read_costs(arguments.costs) if arguments.costs else None
    beside = find_row(plan, arguments.cost_beside) if arguments.cost_beside else None
    if arguments.dry_run:
        print_plan(plan, options)
        return 0
    if beside:
        for option in ('compare', 'out'):
            if getattr(arguments, option) is not None:
                raise BenchError(f'--{option} does not go with --cost-beside, which only measures')
        print_sharing(sharing(plan, beside, options))
        return 0
    check_room(plan.passes, options)
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
    report.command = arguments.command
    count_operations(report)
    if costs:
        put_costs(report, costs)
    if rows:
        try:
            report.comparisons = compare(*rows, results)
        except BenchError as error:
            problems.append(str(error))
    print_report(report)
    if arguments.out:
        from ..figures.charts import charts_of

        report.charts = charts_of(report)
        for path in write_report(report, arguments.out):
            print(path)
    for problem in problems:
        say(f'not run: {problem}')
    return 1 if problems else 0
