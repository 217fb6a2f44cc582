"""See that every number is still what it was.

The configs that have an expected value are run and compared.

naclip-bench regress                                  all of configs/expected.json
naclip-bench regress --select naclip sclip            only configs whose names hold one of the words
naclip-bench regress --record naclip_voc21 --subset voc21_50
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_data_root, add_launcher, add_model_arguments


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--select', nargs='+', metavar='WORD', help='only configs whose names hold a WORD')
    what.add_argument('--record', nargs='+', metavar='CONFIG', help='write what these configs give as expected')
    add(
        '--subset',
        metavar='FILE',
        help='with --record: only the images that FILE names, one a line; or voc21_50, ...',
    )
    add_data_root(parser)
    add_model_arguments(parser)
    add('--expected', type=Path, metavar='FILE', help='where the values are (default: configs/expected.json)')
    add('--store', type=Path, metavar='DIR', help='use, and keep, results there (default: everything is computed anew)')
    add_launcher(parser)


def main(arguments: Namespace) -> int:
    if not arguments.record:
        for option in ('subset', 'precision', 'cfg_options'):
            if getattr(arguments, option) is not None:
                raise BenchError(f'--{option.replace("_", "-")} goes with --record; a value has its own')
    from ..bundled import EXPECTED, INSTALLED
    from ..configuration import register

    register()
    from mmengine.dist import is_main_process

    from ..evaluation.processes import join_processes
    from ..evaluation.record import RANDOM_WEIGHTS
    from ..tables import regress

    if arguments.record and INSTALLED and arguments.expected is None:
        raise BenchError('name the file to write with --expected: those of the package are not yours to change')
    path = arguments.expected or EXPECTED
    join_processes(arguments.launcher)
    with regress.store_for(arguments.store) as store:
        if arguments.record:
            changed = tuple(f'{key}={value}' for key, value in (arguments.cfg_options or {}).items())
            asked = [
                regress.Asked(name, changed, arguments.subset, arguments.pretrained, arguments.precision)
                for name in arguments.record
            ]
            for new, old in regress.record(path, asked, arguments.data_root, store):
                before = f', was {old.value:.4f}' if old else ''
                print(
                    f'{new.config}: {new.metric} {new.value:.4f} +- {new.tolerance} over {new.images["count"]} '
                    f'images, weights {new.weights["name"]}{before}'
                )
                if new.weights['name'] == 'random':
                    print(RANDOM_WEIGHTS)
            if is_main_process():
                print(f'written to {path}')
            return 0
        expected = regress.select_expected(regress.read_expected(path), arguments.select)
        lines = list(regress.regress(expected, arguments.data_root, arguments.pretrained, store))
    if not is_main_process():
        return 0
    for verdict, line in lines:
        print(f'{verdict:4} {line}')
    count = {verdict: sum(verdict == other for other, _ in lines) for verdict in ('ok', 'FAIL', 'skip')}
    print(f'{count["ok"]} as expected, {count["FAIL"]} not, {count["skip"]} not compared')
    return 0 if count['ok'] and not count['FAIL'] else 1
