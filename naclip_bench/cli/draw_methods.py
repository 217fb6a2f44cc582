"""Draw what methods make of a dataset's images ("figure sheet").

naclip-bench draw methods voc21 --method clip,sclip,naclip --limit 4
naclip-bench draw methods my_config.py --method sclip,naclip
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import BenchError
from . import figure


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('of', metavar='DATASET', help='voc21, materials24, ..., or the path of a config that has one')
    figure.add_options({'sheet': parser})
    parser.set_defaults(figure='sheet')


def main(arguments: Namespace) -> None:
    if arguments.dataset:
        raise BenchError(f'--dataset does not go with a dataset that is named already, {arguments.of}')
    arguments.dataset = arguments.of
    figure.main(arguments)
