"""Draw images of a dataset with what several methods make of them, side by side; what is not scored stays bare.

python tools/draw_methods.py voc21 --method clip,sclip,naclip --limit 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import BenchError, CommandParser, run_command


def main() -> None:
    from naclip_bench.configuration import add_model_arguments

    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('dataset', help='voc21, materials24, ... (tools/list.py)')
    add('--method', default='clip,sclip,naclip', help='methods, comma between them (default: %(default)s)')
    add('--limit', type=int, default=4, metavar='N', help='only the first N images (default: %(default)s)')
    add('--subset', type=Path, metavar='FILE', help='only the images that FILE names, one a line; or voc21_50, ...')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add('--out', type=Path, metavar='DIR', help='default: work_dirs/methods/<dataset>')
    add_model_arguments(parser)
    arguments = parser.parse_args()

    from naclip_bench.configuration import load_config, register

    register()
    import numpy as np
    from mmengine.dataset import pseudo_collate

    from naclip_bench.evaluation.leaf import Leaf, Selection
    from naclip_bench.evaluation.opened import OpenPass, passes_of
    from naclip_bench.evaluation.overlay import draw, image_of, palette
    from naclip_bench.evaluation.record import RANDOM_WEIGHTS
    from naclip_bench.files import make_folder, output_path

    given = arguments.data_root, arguments.pretrained, arguments.precision, arguments.cfg_options
    methods = arguments.method.split(',')
    leaves = [Leaf(name, load_config(f'{name}_{arguments.dataset}', *given), {}) for name in methods]
    out = arguments.out or Path('work_dirs/methods') / arguments.dataset
    make_folder('--out', out)
    passes = passes_of(leaves)
    if len(passes) > 1:
        raise BenchError('the methods have different data or backbones; side by side they need the same')
    drawn = OpenPass(passes[0], Selection(arguments.limit, arguments.subset))
    dataset = drawn.data.first
    if any(member.backbone.random_weights for member in drawn.members):
        print(RANDOM_WEIGHTS, file=sys.stderr)
    for index, name in enumerate(drawn.names):
        (sample,) = drawn.model.test_step(pseudo_collate([drawn.data[index]]))
        predicted = dict(zip(methods, sample.predictions.values(), strict=True))
        labels = {'ground truth': next(iter(sample.truths.values())), **predicted}
        # A copy, since what was predicted may belong to the model.
        labels = {title: of.cpu().numpy().astype(np.int32) for title, of in labels.items()}
        for of in labels.values():
            of[labels['ground truth'] == dataset.ignore_index] = dataset.ignore_index
        path = output_path(out, name, '.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(image_of(dataset, sample), labels, dataset.metainfo['classes'], palette(dataset.metainfo)).save(path)
        print(path)


if __name__ == '__main__':
    run_command(main)
