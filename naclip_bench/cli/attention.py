"""Draw where a patch of an image looks ("figure attention").

naclip-bench attention photo.jpg --point 210,140 --method naclip,sclip,clip
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import BenchError
from . import figure


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('file', metavar='IMAGE', help='the image')
    figure.add_options({'attention': parser})
    parser.set_defaults(figure='attention', show=['points'])


def main(arguments: Namespace) -> None:
    if arguments.image:
        raise BenchError(f'--image does not go with an image that is named already, {arguments.file}')
    arguments.image = [arguments.file]
    figure.main(arguments)
