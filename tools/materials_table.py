"""Print what the tiny CLIP and every method reach on Materials, with 95 % intervals over images.

python tools/materials_table.py > table.md

Materials is a stand-in for checking and learning: these are numbers of no paper.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def zero_shot(count: int, pretrained: str = 'materials') -> tuple[float, float, float]:
    """Accuracy of CLIP on images of one material each, and its Wilson interval; in percent."""
    import numpy as np
    import torch
    from scipy.stats import binomtest
    from torch.nn.functional import normalize

    from naclip_bench.backbones import FrozenCLIP
    from naclip_bench.backbones.text import text_vectors
    from naclip_bench.datasets.materials.dataset import CLASSES
    from naclip_bench.datasets.materials.scene import single_scenes
    from naclip_bench.datasets.preprocessor import ImagePreprocessor
    from naclip_bench.vocabulary import TEMPLATES

    clip = FrozenCLIP('materials', pretrained).eval()
    text = text_vectors(clip, CLASSES, TEMPLATES['openai_80'])
    scenes = single_scenes(count, clip.clip.visual.image_size[0])
    inputs = [torch.from_numpy(scene.image[..., ::-1].copy()).permute(2, 0, 1) for scene in scenes]
    images = torch.stack(ImagePreprocessor()(dict(inputs=inputs))['inputs'])
    guesses = (normalize(clip.encode_image(images), dim=-1) @ text.T).argmax(-1).numpy()
    right = int((guesses == np.array([scene.seen()[0] for scene in scenes])).sum())
    ends = binomtest(right, count).proportion_ci(method='wilson')
    return 100 * right / count, 100 * ends.low, 100 * ends.high


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N images')
    parser.add_argument('--classified', type=int, default=1000, help='images of one material (default: %(default)s)')
    parser.add_argument('--pretrained', default='materials', metavar='WEIGHTS', help='a file of others (%(default)s)')
    parser.add_argument('--store', type=Path, default=Path('work_dirs/results'), help='where results are kept')
    arguments = parser.parse_args()

    from naclip_bench.configuration import register

    register()
    from naclip_bench.evaluation.run import run
    from naclip_bench.evaluation.store import Store
    from naclip_bench.tables.plan import Options, make_plan
    from naclip_bench.tables.report import make_report
    from naclip_bench.tables.tables import find_tables

    tables = find_tables(['materials/methods'])
    options = Options(limit=arguments.limit, pretrained=arguments.pretrained)
    plan = make_plan(tables, options)
    (block,) = make_report(plan, run(plan.passes, options.selection, Store(arguments.store)), tables, options).blocks
    accuracy = zero_shot(arguments.classified, arguments.pretrained)
    print(f'Zero-shot classification of {arguments.classified} images of one material: ', end='')
    print('{:.1f} % ({:.1f} to {:.1f}).\n'.format(*accuracy))
    print('| method | ' + ' | '.join(f'{name}: mIoU | 95 %' for name in block.datasets) + ' |')
    print('| --- ' * (1 + 2 * len(block.datasets)) + '|')
    for line in sorted(block.lines, key=lambda line: line.numbers[block.datasets[0]].ours):
        numbers = [line.numbers[name] for name in block.datasets]
        spread = ['{:.1f} to {:.1f}'.format(*number.interval) if number.interval else '-' for number in numbers]
        cells = (f'{number.ours:.1f} | {ends}' for number, ends in zip(numbers, spread, strict=True))
        print(f'| {line.label} | {" | ".join(cells)} |')
    print('', *block.notes(), sep='\n')


if __name__ == '__main__':
    run_command(main)
