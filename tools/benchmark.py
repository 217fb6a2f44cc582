"""How fast a config runs on this machine, beside the plain way of doing the same work.

python tools/benchmark.py configs/naclip_voc21.py --limit 8
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def parse_arguments() -> argparse.Namespace:
    from naclip_bench.configuration import Overrides

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('config', help='path or name of a config')
    add('--limit', type=int, default=16, metavar='N', help='pictures (default: 16)')
    add('--no-plain', action='store_true', help='leave the plain way out')
    add('--data-root', metavar='DIR', help='folder with the data sets (default: data)')
    add('--pretrained', metavar='WEIGHTS', help='open_clip tag, a local file, or "none" for made-up weights')
    add('--precision', choices=['fp32', 'bf16', 'fp16'], help='of our way; the plain way is always fp32')
    add('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help='change any setting of the config')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from naclip_bench.configuration import load_config, register

    register()
    from naclip_bench.evaluation.benchmark import benchmark
    from naclip_bench.evaluation.report import print_benchmark

    config = load_config(
        arguments.config, arguments.data_root, arguments.pretrained, arguments.precision, arguments.cfg_options
    )
    print_benchmark(config, benchmark(config, arguments.limit, not arguments.no_plain))


if __name__ == '__main__':
    run_command(main)
