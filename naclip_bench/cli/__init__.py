"""The commands: ``naclip-bench test``, ``naclip-bench data prepare``, ...; each is a module of this folder.

A module's docstring is its command's help, ``add_arguments(parser)`` its options, ``main(arguments)`` its work. What is
slow to import is imported in ``main``, so that a mistake in an option is found at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from ..errors import BenchError, CommandParser, did_you_mean, run_command

#: Commands by their words, and their modules.
COMMANDS = {
    'segment': 'segment',
    'demo': 'demo',
    'test': 'test',
    'reproduce': 'reproduce',
    'sweep': 'sweep',
    'regress': 'regress',
    'list': 'list',
    'data prepare': 'data_prepare',
    'data check': 'data_check',
    'data subset': 'data_subset',
    'draw methods': 'draw_methods',
    'draw materials': 'draw_materials',
    'figure': 'figure',
    'attention': 'attention',
    'learn': 'learn',
    'templates': 'templates',
    'benchmark': 'benchmark',
    'config': 'config',
    'regions': 'regions',
}


def main() -> None:
    """Run the command that the process was started for, and leave the process."""
    run_command(lambda: dispatch(sys.argv[1:]))


def tool(command: str) -> None:
    """Run ``command`` with the process's arguments, and leave the process: what a file of ``tools/`` does."""
    run_command(lambda: call(command, sys.argv[1:]))


def dispatch(words: Sequence[str]) -> int | None:
    """Run the command that ``words`` begin with; its exit code.

    Raises:
        BenchError: there is no such command.
    """
    for count in (2, 1):
        command = ' '.join(words[:count])
        if command in COMMANDS and len(words) >= count:
            return call(command, words[count:], f'naclip-bench {command}')
    within = [command for command in COMMANDS if words and command.startswith(f'{words[0]} ')]
    rest = words[1:] if within else words
    if rest and rest[0] == '--version':
        from .. import __version__

        print(__version__)
        return 0
    if rest and rest[0] not in ('-h', '--help'):
        wanted = ' '.join(words[: 1 + bool(within)])
        raise BenchError(f'there is no command {wanted}{did_you_mean(wanted, within or COMMANDS)}')
    print(overview(within or [*COMMANDS]))
    return 0


def call(command: str, words: Sequence[str], prog: str | None = None) -> int | None:
    """Run one command with its arguments, to which ``command`` is added: the line that runs it again."""
    module = import_module(f'{__name__}.{COMMANDS[command]}')
    parser = CommandParser(prog=prog, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    arguments = parser.parse_args(words)
    arguments.command = shlex.join(['naclip-bench', *command.split(), *words])
    return module.main(arguments)


def overview(commands: Sequence[str]) -> str:
    """A line for each command: its words, and the first sentence of its help."""
    lines = ['usage: naclip-bench COMMAND ..., and naclip-bench COMMAND --help', '']
    for command in commands:
        about = import_module(f'{__name__}.{COMMANDS[command]}').__doc__.split('\n')[0]
        lines.append(f'  {command:<15} {about[0].lower()}{about[1:].rstrip(".")}')
    return '\n'.join(lines)
