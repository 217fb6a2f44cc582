"""Draw what several methods make of images, side by side.

What is not scored is hatched.

naclip-bench draw methods voc21 --method clip,sclip,naclip --limit 4
naclip-bench draw methods my_config.py --method sclip,naclip
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_data_root, add_model_arguments, add_part, settings_of


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('dataset', help='voc21, materials24, ... (see the list), or the path of a config that has one')
    add('--method', default='clip,sclip,naclip', help='methods, comma between them (default: %(default)s)')
    add_part(parser, limit=4)
    add_data_root(parser)
    add('--out', type=Path, metavar='DIR', help='default: work_dirs/methods/<dataset>')
    add_model_arguments(parser)


def main(arguments: Namespace) -> None:
    from ..configuration import load_pair, register

    register()
    from mmengine.dataset import pseudo_collate

    from ..evaluation.leaf import Leaf, Selection
    from ..evaluation.opened import OpenPass, passes_of
    from ..evaluation.overlay_files import picture_of
    from ..evaluation.record import RANDOM_WEIGHTS
    from ..files import make_folder, output_path

    methods = arguments.method.split(',')
    leaves = [Leaf(name, load_pair(name, arguments.dataset, *settings_of(arguments)), {}) for name in methods]
    out = arguments.out or Path('work_dirs/methods') / Path(arguments.dataset).stem
    make_folder('--out', out)
    passes = passes_of(leaves)
    if len(passes) > 1:
        raise BenchError('the methods have different data or backbones; side by side they need the same')
    drawn = OpenPass(passes[0], Selection(arguments.limit, arguments.subset))
    dataset = drawn.data.first
    random_weights = any(member.random_weights for member in drawn.members)
    if random_weights:
        print(RANDOM_WEIGHTS, file=sys.stderr)
    for index, name in enumerate(drawn.names):
        (sample,) = drawn.model.test_step(pseudo_collate([drawn.data[index]]))
        predictions = dict(zip(methods, sample.predictions.values(), strict=True))
        path = output_path(out, name, '.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        picture_of(dataset, sample, predictions, random_weights).save(path)
        print(path)
