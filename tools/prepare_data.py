"""Bring a dataset from its official archives to the folders that its benchmarks read.

python tools/prepare_data.py voc                                        downloads the official archive
python tools/prepare_data.py cityscapes --from leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip

Run again, it goes on where it was interrupted; a dataset that is complete is left as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def main() -> None:
    from naclip_bench.data.recipes import RECIPES, find_recipe

    rows = [f'  {recipe.key:<16}{recipe.title}; {_origin(recipe)}' for recipe in RECIPES.values()]
    parser = CommandParser(
        description=__doc__,
        epilog='datasets:\n' + '\n'.join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('dataset', metavar='DATASET', help='see below')
    add(
        '--from',
        dest='given',
        nargs='+',
        action='extend',
        default=[],
        type=Path,
        metavar='PATH',
        help='official archives (tar, tar.gz, zip), or folders unpacked already; what they lack is downloaded',
    )
    add('--data-root', type=Path, default=Path('data'), metavar='DIR', help='folder with the datasets (default: data)')
    add('--dry-run', action='store_true', help='say what would be done and how much disk it wants, and do nothing')
    add('--unlabeled-ignored', action='store_true', help='coco_object: do not score unlabeled pixels as background')
    arguments = parser.parse_args()
    recipe = find_recipe(arguments.dataset, arguments.unlabeled_ignored)
    from naclip_bench.configuration import register

    register()
    from naclip_bench.data.dry_run import dry_run
    from naclip_bench.data.prepare import prepare

    (dry_run if arguments.dry_run else prepare)(recipe, arguments.given, arguments.data_root)


def _origin(recipe: object) -> str:
    by_hand = [source.archive for source in recipe.sources if not source.url]
    return f'needs --from {" ".join(by_hand)}' if by_hand else 'is downloaded'


if __name__ == '__main__':
    run_command(main)
