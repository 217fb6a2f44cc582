"""Measure how fast a config runs here, beside the plain way.

naclip-bench benchmark naclip_voc21 --limit 8
naclip-bench benchmark clip_voc21 --beside naclip,sclip    what methods cost beside each other
naclip-bench benchmark naclip_materials24 --against HEAD   whether a change of the checkout made it slower
naclip-bench benchmark naclip_voc21 --waterfall --precision bf16      what each step from the released way to ours gains
naclip-bench benchmark --images photos/ --words "dog, boat, water"    Segmenter, the released way, and CLIPSeg
"""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_config_arguments, config_of, settings_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    add = parser.add_argument
    add('--limit', type=int, default=16, metavar='N', help='images (default: 16)')
    add('--no-plain', action='store_true', help='leave the plain way, always in fp32, out')
    add(
        '--against',
        metavar='REVISION',
        help='a commit of the checkout to compare with by turns, in place of the plain way',
    )
    add(
        '--rounds',
        type=int,
        default=3,
        metavar='N',
        help='runs of each with --against or --waterfall (default: %(default)s)',
    )
    add('--waterfall', action='store_true', help='the plain way, and what each step from it to ours gains')
    add('--beside', metavar='METHODS', help='methods to compare the config with, in place of the plain way')
    add('--out', type=Path, metavar='FILE', help='with --beside: a .json file for `reproduce --costs`')
    add('--images', nargs='+', metavar='INPUT', help='in place of a config: images of your own, or folders')
    add('--words', help='classes of --images, as "dog, boat, water"')


def main(arguments: Namespace) -> None:
    if arguments.images or arguments.words:
        _of_own_words(arguments)
        return
    from ..configuration import config_names, dataset_bases, load_config, load_pair

    if arguments.against:
        _against(arguments)
        return
    name, config = config_of(arguments)
    if arguments.out and not arguments.beside:
        raise BenchError('--out is of --beside, whose costs a table shows')
    if arguments.waterfall:
        from ..speed.waterfall import print_waterfall, waterfall

        print_waterfall(config, waterfall(config, arguments.limit, arguments.rounds))
        return
    if arguments.beside:
        from ..files import make_folder
        from ..speed.methods import costs, print_costs, write_costs

        # The dataset of a config of one's own is known by that config alone.
        dataset = config.dataset if config.dataset in dataset_bases() else arguments.dataset or arguments.config
        configs = {name.removesuffix(f'_{config.dataset}'): config}
        for method in arguments.beside.split(','):
            own = f'{method}_{config.dataset}'
            load = (load_config, own) if own in config_names() else (load_pair, method, dataset)
            configs[method] = load[0](*load[1:], *settings_of(arguments))
        if arguments.out:
            make_folder('--out', arguments.out.parent)
        found = costs(configs, arguments.limit)
        print_costs(found)
        if arguments.out:
            write_costs(arguments.out, config, found)
            print(arguments.out)
        return
    from ..speed.against_plain import benchmark, print_benchmark

    print_benchmark(config, benchmark(config, arguments.limit, not arguments.no_plain))


def _against(arguments: Namespace) -> None:
    from ..speed.revisions import against, print_against

    if arguments.beside:
        raise BenchError('--against and --beside are two comparisons; give one')
    config_of(arguments)  # what is wrong with it is told before anything is run
    # All else that was given is what `test` takes, word for word.
    own = ArgumentParser(add_help=False)
    for option in ('--against', '--rounds', '--limit'):
        own.add_argument(option)
    own.add_argument('--no-plain', action='store_true')
    _, words = own.parse_known_args(shlex.split(arguments.command)[2:])
    print_against(against(arguments.against, [*words, '--limit', str(arguments.limit)], arguments.rounds))


def _of_own_words(arguments: Namespace) -> None:
    if arguments.config or arguments.dataset or not (arguments.images and arguments.words):
        raise BenchError('--images and --words go together, in place of a config')
    from ..segment.beside import measure, print_measured, ways_of
    from ..segment.listing import find_inputs
    from ..segment.segmenter import Segmenter

    pictures = [one.read() for one in find_inputs(arguments.images)[: arguments.limit]]
    segmenter = Segmenter(
        arguments.method or 'naclip',
        arguments.words,
        weights=arguments.pretrained,
        precision=arguments.precision,
        settings=arguments.cfg_options,
    )
    print_measured(measure(ways_of(segmenter), pictures, segmenter.device), segmenter)
