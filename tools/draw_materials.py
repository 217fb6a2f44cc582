"""Draw images of the Materials benchmark and their masks as files, and a sheet of its materials and grounds.

python tools/draw_materials.py work_dirs/materials --count 12 --scale 3
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import CommandParser, run_command


def draw_sheet(path: Path, columns: int = 10, side: int = 128) -> None:
    """A swatch of every material and ground with its name."""
    import numpy as np
    from matplotlib.figure import Figure

    from naclip_bench.datasets.materials.scene import paint_afresh
    from naclip_bench.datasets.materials.textures import GROUNDS, MATERIALS

    paint = paint_afresh(scale=2)
    textures = {**{texture: words[0] for texture, words in MATERIALS.items()}, **GROUNDS}
    rows = -(-len(textures) // columns)
    figure = Figure(figsize=(1.4 * columns, 1.6 * rows), dpi=100, layout='constrained')
    for axis, (texture, name) in zip(figure.subplots(rows, columns).flat, textures.items(), strict=False):
        swatch = paint(texture, np.random.default_rng(1), (0, side), (0, side))
        axis.imshow(swatch.clip(0, 1))
        axis.set_title(name, fontsize=9)
    for axis in figure.axes:
        axis.set_axis_off()
    figure.savefig(path)


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add(
        'folder',
        type=Path,
        help='for <name>.png, <name>_mask.png (0: ground, 1..24: materials) and sheet.png',
    )
    add('--count', type=int, default=12, help='of images (default: %(default)s)')
    add('--scale', type=int, default=1, help='draw them so many times finer (default: %(default)s, as they are run)')
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.scale < 1:
        parser.error('--count and --scale must be at least 1')
    from PIL import Image

    from naclip_bench.configuration import register

    register()

    from naclip_bench.datasets.materials.dataset import test_scene
    from naclip_bench.files import make_folder

    make_folder('folder', arguments.folder)
    for seed in range(arguments.count):
        name = f'{seed:05d}'
        scene = test_scene(name, arguments.scale)
        Image.fromarray(scene.image).save(arguments.folder / f'{name}.png')
        Image.fromarray(scene.labels).save(arguments.folder / f'{name}_mask.png')
    draw_sheet(arguments.folder / 'sheet.png')
    print(f'{arguments.count} images and a sheet in {arguments.folder}')


if __name__ == '__main__':
    run_command(main)
