"""Check that a dataset is whole; exit code 1 where it is not.

It must be what it is taken for, too: what its masks show tells one dataset from another.

naclip-bench data check voc21 pc60
naclip-bench data check my_config.py --quick
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .arguments import add_data_root, add_import


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('datasets', nargs='+', metavar='DATASET', help='voc21, pc60, ... (see the list), or the path of a config')
    add_data_root(parser)
    add('--quick', action='store_true', help='only list and files, not what is in them')
    add_import(parser)


def main(arguments: Namespace) -> int:
    from ..configuration import dataset_config, load_config, register

    register()
    from ..checks.dataset import check_dataset
    from ..checks.verdict import print_verdict

    sound = True
    for config in [load_config(dataset_config(name), arguments.data_root) for name in arguments.datasets]:
        report = check_dataset(config, arguments.quick)
        print_verdict(report)
        sound &= report.sound
    return 0 if sound else 1
