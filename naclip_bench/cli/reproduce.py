"""Run what papers' tables need, once, and print them beside ours.

naclip-bench reproduce naclip/table1
naclip-bench reproduce all --dry-run
naclip-bench reproduce --import my_method.py --method mymethod,naclip --dataset voc21,pc60
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import product
from pathlib import Path

from ..errors import BenchError
from .arguments import add_data_root, add_model_arguments, add_part, add_spread_arguments


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('tables', nargs='*', metavar='TABLE', help='naclip/table1, ... (see the list), or "all"')
    add('--method', metavar='METHODS', help='a table of these methods, comma between them, on each --dataset')
    add('--dataset', metavar='DATASETS', help='of --method: datasets, comma between them')
    add('--datasets', nargs='+', metavar='NAME', help='only these datasets')
    add('--rows', nargs='+', metavar='ROW', help='only these rows: by name, name and settings, or a part of the name')
    add_part(parser)
    add_data_root(parser)
    add_model_arguments(parser)
    add_spread_arguments(parser)
    add('--dry-run', action='store_true', help='print what would be computed, and compute nothing')
    add('--cost-beside', metavar='ROW', help='measure what the runs cost together beside ROW alone, and store nothing')
    add('--compare', nargs=2, metavar='ROW', help='test two rows against each other, image by image')
    add('--store', type=Path, default=Path('work_dirs/results'), metavar='DIR', help='results (default: %(default)s)')
    add('--out', type=Path, metavar='DIR', help='write table.md, .tex, .csv, .json and .html into DIR')


def main(arguments: Namespace) -> None:
    from ..configuration import check_pair, register

    register()
    from ..files import make_folder
    from ..speed.tables import print_sharing, sharing
    from ..tables.compare import compare, find_row, find_rows
    from ..tables.formats import print_plan, print_report, write_report
    from ..tables.plan import Options, make_plan
    from ..tables.report import make_report
    from ..tables.run import run_plan
    from ..tables.spread import compute_of
    from ..tables.store import Store
    from ..tables.tables import find_tables, table_of_methods

    tables = find_tables(arguments.tables)
    if arguments.method or arguments.dataset:
        if not (arguments.method and arguments.dataset):
            raise BenchError('--method and --dataset go together')
        methods, datasets = arguments.method.split(','), arguments.dataset.split(',')
        for pair in product(methods, datasets):
            check_pair(*pair)
        tables.append(table_of_methods(methods, datasets))
    if not tables:
        raise BenchError('name a table, or give --method and --dataset')
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
        return print_plan(plan, options)
    if beside:
        for option in ('compare', 'out', 'device_count', 'ray'):
            if getattr(arguments, option) is not None:
                raise BenchError(f'--{option.replace("_", "-")} does not go with --cost-beside, which only measures')
        return print_sharing(sharing(plan, beside, options))
    compute = compute_of(arguments.device_count, arguments.ray)
    make_folder('--out', arguments.out)
    results = run_plan(plan, options, Store(arguments.store), compute)
    report = make_report(plan, results, tables, options)
    if rows:
        report.comparisons = compare(*rows, results)
    print_report(report)
    if arguments.out:
        for path in write_report(report, arguments.out):
            print(path)
