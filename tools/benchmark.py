"""How fast a config runs on this machine, beside the plain way of doing the same work.

python tools/benchmark.py configs/naclip_voc21.py --limit 8
python tools/benchmark.py configs/clip_voc21.py --beside naclip,sclip    what methods cost beside each other
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
    parser.add_argument('--limit', type=int, default=16, metavar='N', help='images (default: 16)')
    parser.add_argument('--no-plain', action='store_true', help='leave the plain way, always in fp32, out')
    parser.add_argument(
        '--beside', metavar='METHODS', help='methods to compare the config with, in place of the plain way'
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from naclip_bench.configuration import config_of, find_config, register

    register()
    from naclip_bench.evaluation.report import print_benchmark
    from naclip_bench.speed.against_plain import benchmark

    config = config_of(arguments)
    if arguments.beside:
        from naclip_bench.speed.methods import costs, print_costs

        configs = {find_config(arguments.config).stem.removesuffix(f'_{config.dataset}'): config}
        for method in arguments.beside.split(','):
            arguments.config = f'{method}_{config.dataset}'
            configs[method] = config_of(arguments)
        print_costs(costs(configs, arguments.limit))
        return
    print_benchmark(config, benchmark(config, arguments.limit, not arguments.no_plain))


if __name__ == '__main__':
    run_command(main)
