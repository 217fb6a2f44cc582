"""Print a config, flat, as a run would have it.

naclip-bench config naclip_voc21 --cfg-options model.stride=56 > my_config.py
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .arguments import add_config_arguments, config_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)


def main(arguments: Namespace) -> None:
    _, config = config_of(arguments)
    print(config.pretty_text, end='')
