"""How fast this machine converts and checks masks, with one core and with all it has.

python tools/benchmark_data.py --images 5000

Images and annotations are made up: 640 x 480, in the official formats of COCO-Stuff (PNG) and Pascal Context (.mat).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=1000, help='(default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='medians of so many (default: %(default)s)')
    arguments = parser.parse_args()
    from naclip_bench.configuration import register

    register()
    from naclip_bench.speed.conversion import conversion_seconds, print_conversion

    print_conversion(conversion_seconds(arguments.images, arguments.repeats), arguments.images)


if __name__ == '__main__':
    run_command(main)
