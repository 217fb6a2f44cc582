"""Run a method over a dataset and print its mIoU.

naclip-bench test naclip_voc21
naclip-bench test --import my_method.py --method mymethod --dataset voc21
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .arguments import add_config_arguments, add_part, add_run_arguments, config_of, options_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    add_part(parser)
    add = parser.add_argument
    add('--work-dir', type=Path, metavar='DIR', help='where result.json goes (default: work_dirs/<config>)')
    add('--show-dir', type=Path, metavar='DIR', help='draw prediction and ground truth of every image into DIR')
    add('--save-predictions', type=Path, metavar='DIR', help='write every prediction into DIR, a PNG of labels each')
    add_run_arguments(parser)


def main(arguments: Namespace) -> None:
    name, config = config_of(arguments)
    from ..evaluation.leaf import Leaf, Selection
    from ..evaluation.opened import Pass
    from ..evaluation.printed import print_result
    from ..evaluation.processes import join_processes
    from ..evaluation.single import Outputs, run_single
    from ..evaluation.store import Store
    from ..tables.estimate import check_room

    check_room([Pass([Leaf(name, config)])], options_of(arguments, None, None))
    join_processes(arguments.launcher)
    leaf = Leaf(name, config, arguments.cfg_options or {})
    outputs = Outputs(arguments.work_dir or Path('work_dirs') / name, arguments.show_dir, arguments.save_predictions)
    selection = Selection(arguments.limit, arguments.subset)
    result = run_single(leaf, selection, Store(arguments.store), outputs, arguments.fresh)
    if result is not None:
        print_result(result.record, outputs.result, result.computed)
