"""Run a config over all combinations of some settings' values.

The trunk runs once for all.

naclip-bench sweep naclip_voc21 --over prob_thd=0:0.6:0.05 --over background=naclip,clearclip,proxyclip,none \\
    --over templates=openai_80,one --out work_dirs/sweep
naclip-bench sweep naclip_materials24 --over sigma=1:10:1 --pretrained materials
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .arguments import add_data_root, add_model_arguments, add_part, add_run_arguments, options_of, settings_of


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('config', help='path or name of a config: naclip_voc21')
    add(
        '--over',
        action='append',
        required=True,
        metavar='SETTING=VALUES',
        help='prob_thd=0:0.6:0.05 (first:last:step), background=naclip,proxyclip,none (whose class names), '
        'templates=openai_80,one, or any setting: sigma=3,5,7; repeatable, all combinations are run',
    )
    add_part(parser)
    add_data_root(parser)
    add_model_arguments(parser)
    add_run_arguments(parser)
    add('--dry-run', action='store_true', help='print what would be computed, and compute nothing')
    add('--out', type=Path, metavar='DIR', help='write table.md, .tex, .csv, .json, .html and the chart into DIR')


def main(arguments: Namespace) -> int:
    from ..configuration import load_config, register

    register()
    from mmengine.dist import is_main_process

    from ..evaluation.processes import join_processes
    from ..evaluation.run import run
    from ..evaluation.store import Store
    from ..files import make_folder
    from ..optional import needed
    from ..tables.estimate import check_room
    from ..tables.formats import print_plan, write_report
    from ..tables.sweep import make_sweep, parse_axis, print_sweep, sweep_report

    config = load_config(arguments.config, *settings_of(arguments))
    axes = [parse_axis(text, config.dataset) for text in arguments.over]
    options = options_of(arguments, None, None)
    plan = make_sweep(arguments.config, config, axes, options)
    if arguments.dry_run:
        print_plan(plan, options)
        return 0
    if arguments.out:
        needed('jinja2', 'report', 'the report as HTML')
        needed('matplotlib', 'report', 'a figure')
    for pass_ in plan.passes:
        pass_.check(options.selection)
    check_room(plan.passes, options)
    join_processes(arguments.launcher)
    make_folder('--out', arguments.out)
    results = run(plan.passes, options.selection, Store(arguments.store), fresh=arguments.fresh)
    if not is_main_process():
        return 0
    report = sweep_report(plan, results, options)
    report.command = arguments.command
    print_sweep(report)
    if arguments.out:
        from ..figures.canvas import save
        from ..figures.charts import CHARTS, best_chart, charts_of

        report.charts = charts_of(report)
        (block,) = report.blocks
        written = save(CHARTS[best_chart(block)](block), arguments.out / 'chart')
        for path in [*write_report(report, arguments.out), *written]:
            print(path)
    return 0
