"""Draw images of Materials, their masks and a sheet of materials.

naclip-bench draw materials work_dirs/materials --count 12 --scale 3
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError


def draw_sheet(path: Path, columns: int = 10, side: int = 128) -> None:
    """A swatch of every material and ground with its name."""
    import numpy as np

    from ..datasets.materials.scene import paint_afresh
    from ..datasets.materials.textures import GROUNDS, MATERIALS
    from ..optional import needed

    paint = paint_afresh(scale=2)
    textures = {**{texture: words[0] for texture, words in MATERIALS.items()}, **GROUNDS}
    rows = -(-len(textures) // columns)
    figure = needed('matplotlib.figure', 'report', 'the sheet').Figure(
        figsize=(1.4 * columns, 1.6 * rows), dpi=100, layout='constrained'
    )
    for axis, (texture, name) in zip(figure.subplots(rows, columns).flat, textures.items(), strict=False):
        swatch = paint(texture, np.random.default_rng(1), (0, side), (0, side))
        axis.imshow(swatch.clip(0, 1))
        axis.set_title(name, fontsize=9)
    for axis in figure.axes:
        axis.set_axis_off()
    figure.savefig(path)


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        'folder',
        type=Path,
        help='for <name>.png, <name>_mask.png (0: ground, 1..24: materials) and sheet.png',
    )
    add('--count', type=int, default=12, help='of images (default: %(default)s)')
    add('--scale', type=int, default=1, help='draw them so many times finer (default: %(default)s, as they are run)')


def main(arguments: Namespace) -> None:
    if arguments.count < 1 or arguments.scale < 1:
        raise BenchError('--count and --scale must be at least 1')
    from PIL import Image

    from ..configuration import register

    register()

    from ..datasets.materials.dataset import test_scene
    from ..files import make_folder

    make_folder('folder', arguments.folder)
    for seed in range(arguments.count):
        name = f'{seed:05d}'
        scene = test_scene(name, arguments.scale)
        Image.fromarray(scene.image).save(arguments.folder / f'{name}.png')
        Image.fromarray(scene.labels).save(arguments.folder / f'{name}_mask.png')
    draw_sheet(arguments.folder / 'sheet.png')
    print(f'{arguments.count} images and a sheet in {arguments.folder}')
