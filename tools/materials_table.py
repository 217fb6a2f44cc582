"""Print what the tiny CLIP and every method reach on Materials, with 95 % intervals over pictures.

python tools/materials_table.py > table.md

Materials is a stand-in for checking and learning: these are numbers of no paper.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command

SETS = ('materials24', 'materials25')


def zero_shot(pictures: int) -> tuple[float, float, float]:
    """Accuracy of CLIP on pictures of one material each, and its Wilson interval; in percent."""
    import numpy as np
    import torch
    from scipy.stats import binomtest
    from torch.nn.functional import normalize

    from naclip_bench.backbones import FrozenCLIP
    from naclip_bench.datasets.materials.dataset import CLASSES
    from naclip_bench.datasets.materials.scene import single_scenes
    from naclip_bench.datasets.preprocessor import PicturePreprocessor
    from naclip_bench.vocabulary import TEMPLATES, text_vectors

    clip = FrozenCLIP('materials', 'materials').eval()
    text = text_vectors(clip, CLASSES, TEMPLATES['openai_80'])
    scenes = single_scenes(pictures, clip.clip.visual.image_size[0])
    inputs = [torch.from_numpy(scene.picture[..., ::-1].copy()).permute(2, 0, 1) for scene in scenes]
    images = torch.stack(PicturePreprocessor()(dict(inputs=inputs))['inputs'])
    guesses = (normalize(clip.encode_image(images), dim=-1) @ text.T).argmax(-1).numpy()
    right = int((guesses == np.array([scene.seen()[0] for scene in scenes])).sum())
    ends = binomtest(right, pictures).proportion_ci(method='wilson')
    return 100 * right / pictures, 100 * ends.low, 100 * ends.high


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N pictures')
    parser.add_argument('--classified', type=int, default=1000, help='pictures of one material (default: %(default)s)')
    parser.add_argument('--store', type=Path, default=Path('work_dirs/results'), help='where results are kept')
    arguments = parser.parse_args()

    from naclip_bench.configuration import config_names, load_config, register

    register()
    from naclip_bench.reproduce.bootstrap import intervals
    from naclip_bench.reproduce.plan import Leaf, Options, Pass, Plan
    from naclip_bench.reproduce.run import run_plan
    from naclip_bench.reproduce.store import Store

    names = [name for name in config_names() if name.endswith(SETS)]
    leaves = {name: Leaf(name, load_config(name), {}) for name in names}
    # All methods and both class sets have the same pictures and weights: one pass.
    results = run_plan(Plan([], [Pass([*leaves.values()])]), Options(limit=arguments.limit), Store(arguments.store))
    accuracy = zero_shot(arguments.classified)
    print(f'Zero-shot classification of {arguments.classified} pictures of one material: ', end='')
    print('{:.1f} % ({:.1f} to {:.1f}).\n'.format(*accuracy))
    print('| method | ' + ' | '.join(f'{name}: mIoU | 95 %' for name in SETS) + ' |')
    print('| --- ' * (1 + 2 * len(SETS)) + '|')
    methods = sorted({name.removesuffix(f'_{SETS[0]}') for name in names if name.endswith(SETS[0])})
    rows = {}
    for method in methods:
        of = [leaves[f'{method}_{name}'] for name in SETS]
        rows[method] = [
            (results[leaf].record['metrics']['mIoU'], *intervals(leaf, results[leaf])['mIoU']) for leaf in of
        ]
    for method in sorted(methods, key=lambda method: rows[method][0][0]):
        cells = ' | '.join('{:.1f} | {:.1f} to {:.1f}'.format(*values) for values in rows[method])
        print(f'| {leaves[f"{method}_{SETS[0]}"].config.model.type} | {cells} |')
    print(f'\n{leaves[names[0]].config.note}.')


if __name__ == '__main__':
    run_command(main)
