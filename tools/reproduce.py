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
    from naclip_bench.configuration import add_model_arguments, add_spread_arguments

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('tables', nargs='+', metavar='TABLE', help='naclip/table1, ... (tools/list.py tables), or "all"')
    add('--datasets', nargs='+', metavar='NAME', help='only these datasets')
    add('--rows', nargs='+', metavar='ROW', help='only these rows: by name, name and settings, or a part of the name')
    add('--limit', type=int, metavar='N', help='only the first N images')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add_model_arguments(parser)
    add_spread_arguments(parser)
    add('--dry-run', action='store_true', help='print what would be computed, and compute nothing')
    add('--cost-beside', metavar='ROW', help='measure what the runs cost together beside ROW alone, and store nothing')
    add('--compare', nargs=2, metavar='ROW', help='test two rows against each other, image by image')
    add('--store', type=Path, default=Path('work_dirs/results'), metavar='DIR', help='results (default: %(default)s)')
    add('--out', type=Path, metavar='DIR', help='write table.md, .tex, .csv, .json and .html into DIR')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from naclip_bench.configuration import register

    register()
    from naclip_bench.files import make_folder
    from naclip_bench.speed.tables import print_sharing, sharing
    from naclip_bench.tables.compare import compare, find_row, find_rows
    from naclip_bench.tables.formats import print_plan, print_report, write_report
    from naclip_bench.tables.plan import Options, make_plan
    from naclip_bench.tables.report import make_report
    from naclip_bench.tables.run import run_plan
    from naclip_bench.tables.spread import compute_of
    from naclip_bench.tables.store import Store
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


if __name__ == '__main__':
    run_command(main)
