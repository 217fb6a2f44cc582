"""Run a method over a dataset and print its mIoU.

naclip-bench test naclip_voc21
naclip-bench test --import my_method.py --method mymethod --dataset voc21
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path

from .arguments import add_config_arguments, add_part, config_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    add_part(parser)
    add = parser.add_argument
    add('--work-dir', type=Path, metavar='DIR', help='where results go (default: work_dirs/<config>)')
    add('--resume', action='store_true', help='go on with an interrupted run of the same settings')
    add('--show-dir', type=Path, metavar='DIR', help='draw prediction and ground truth of every image into DIR')
    add('--save-predictions', type=Path, metavar='DIR', help='write every prediction into DIR, a PNG of labels each')
    add('--launcher', default='none', choices=['none', 'pytorch', 'slurm', 'mpi'], help='for several processes')
    # torchrun of older versions passes the rank as an argument; the environment has it too.
    add('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)


def main(arguments: Namespace) -> None:
    name, config = config_of(arguments)
    from mmengine.dist import is_main_process

    from ..evaluation.report import print_result
    from ..evaluation.run import Request, run

    work_dir = arguments.work_dir or Path('work_dirs') / name
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
