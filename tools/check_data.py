"""Check that a dataset is whole and is what it is taken for; exit code 1 where it is not.

python tools/check_data.py voc21 pc60
python tools/check_data.py my_config.py --quick
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def main() -> int:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('datasets', nargs='+', metavar='DATASET', help='voc21, pc60, ... (tools/list.py), or the path of a config')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add('--quick', action='store_true', help='only list and files, not what is in them')
    arguments = parser.parse_args()
    from naclip_bench.configuration import dataset_config, load_config, register

    register()
    from naclip_bench.checks.dataset import verify
    from naclip_bench.checks.verdict import print_report

    sound = True
    for config in [load_config(dataset_config(name), arguments.data_root) for name in arguments.datasets]:
        report = verify(config, arguments.quick)
        print_report(report)
        sound &= report.sound
    return 0 if sound else 1


if __name__ == '__main__':
    run_command(main)
