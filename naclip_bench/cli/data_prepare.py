"""Bring a dataset from its official archives to its folders.

naclip-bench data prepare voc                      downloads the official archive
naclip-bench data prepare cityscapes --from leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip

Run again, it goes on where it was interrupted; a dataset that is complete is left as it is.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    from ..data.recipes import RECIPES

    rows = [f'  {recipe.key:<16}{recipe.title}; {_origin(recipe)}' for recipe in RECIPES.values()]
    parser.epilog = 'datasets:\n' + '\n'.join(rows)
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


def main(arguments: Namespace) -> None:
    from ..data.recipes import find_recipe

    recipe = find_recipe(arguments.dataset, arguments.unlabeled_ignored)
    from ..configuration import register

    register()
    from ..data.dry_run import dry_run
    from ..data.prepare import prepare

    (dry_run if arguments.dry_run else prepare)(recipe, arguments.given, arguments.data_root)


def _origin(recipe: object) -> str:
    by_hand = [source.archive for source in recipe.sources if not source.url]
    return f'needs --from {" ".join(by_hand)}' if by_hand else 'is downloaded'
