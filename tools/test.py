"""Run a method over a dataset and print its mIoU.

python tools/test.py configs/naclip_voc21.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def parse_arguments() -> argparse.Namespace:
    from naclip_bench.configuration import add_config_arguments, add_run_arguments

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add = parser.add_argument
    add('--limit', type=int, metavar='N', help='only the first N images')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')
    add('--work-dir', type=Path, metavar='DIR', help='where result.json goes (default: work_dirs/<config>)')
    add('--show-dir', type=Path, metavar='DIR', help='draw prediction and ground truth of every image into DIR')
    add('--save-predictions', type=Path, metavar='DIR', help='write every prediction into DIR, a PNG of labels each')
    add_run_arguments(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from naclip_bench.configuration import config_label, config_of, find_config, register

    register()
    from naclip_bench.evaluation.leaf import Leaf, Selection
    from naclip_bench.evaluation.processes import join_processes
    from naclip_bench.evaluation.report import print_result
    from naclip_bench.evaluation.single import Outputs, run_single
    from naclip_bench.evaluation.store import Store

    path = find_config(arguments.config)
    leaf = Leaf(config_label(path), config_of(arguments), arguments.cfg_options or {})
    join_processes(arguments.launcher)
    outputs = Outputs(
        arguments.work_dir or Path('work_dirs') / leaf.name, arguments.show_dir, arguments.save_predictions
    )
    selection = Selection(arguments.limit, arguments.subset)
    result = run_single(leaf, selection, Store(arguments.store), outputs, arguments.fresh)
    if result is not None:
        print_result(result.record, outputs.result)


if __name__ == '__main__':
    run_command(main)
