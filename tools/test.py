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
    from naclip_bench.configuration import add_config_arguments

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add = parser.add_argument
    add('--limit', type=int, metavar='N', help='only the first N images')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')
    add('--work-dir', type=Path, metavar='DIR', help='where results go (default: work_dirs/<config>)')
    add('--resume', action='store_true', help='go on with an interrupted run of the same settings')
    add('--show-dir', type=Path, metavar='DIR', help='draw prediction and ground truth of every image into DIR')
    add('--save-predictions', type=Path, metavar='DIR', help='write every prediction into DIR, a PNG of labels each')
    add('--launcher', default='none', choices=['none', 'pytorch', 'slurm', 'mpi'], help='for several processes')
    # torchrun of older versions passes the rank as an argument; the environment has it too.
    add('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from naclip_bench.configuration import config_label, config_of, find_config, register

    register()
    from mmengine.dist import is_main_process

    from naclip_bench.evaluation.report import print_result
    from naclip_bench.evaluation.run import Request, run

    config = config_of(arguments)
    work_dir = arguments.work_dir or Path('work_dirs') / config_label(find_config(arguments.config))
    record = run(
        Request(
            config,
            work_dir,
            arguments.limit,
            arguments.subset,
            arguments.resume,
            arguments.show_dir,
            arguments.save_predictions,
            arguments.launcher,
            arguments.cfg_options or {},
        )
    )
    if is_main_process():
        print_result(record, work_dir / 'result.json')


if __name__ == '__main__':
    run_command(main)
