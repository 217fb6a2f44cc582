"""Draw pictures of the Materials benchmark and their masks as files, to look at or to try things on.

python tools/draw_materials.py work_dirs/materials --count 12 --scale 3
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('folder', type=Path, help='where <name>.png and <name>_mask.png go; 0 is the ground, 1..24 the materials')
    add('--count', type=int, default=12, help='of pictures (default: %(default)s)')
    add('--scale', type=int, default=1, help='draw them so many times finer (default: %(default)s, as they are run)')
    arguments = parser.parse_args()
    from PIL import Image

    from naclip_bench.datasets.materials.dataset import test_scene

    arguments.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.count):
        name = f'{seed:05d}'
        scene = test_scene(name, arguments.scale)
        Image.fromarray(scene.picture).save(arguments.folder / f'{name}.png')
        Image.fromarray(scene.labels).save(arguments.folder / f'{name}_mask.png')
    print(f'{arguments.count} pictures in {arguments.folder}')


if __name__ == '__main__':
    run_command(main)
