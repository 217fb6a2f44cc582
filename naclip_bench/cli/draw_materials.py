"""Draw images of Materials, their masks and a sheet of materials.

naclip-bench draw materials work_dirs/materials --count 12 --scale 3
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError


def draw_sheet(path: Path, columns: int = 6, side: int = 128) -> None:
    """A swatch of every material and ground with its name, in a frame of its color in pictures."""
    import numpy as np

    from ..datasets.materials.colors import COLORS
    from ..datasets.materials.scene import paint_afresh
    from ..datasets.materials.textures import GROUNDS, MATERIALS
    from ..optional import needed
    from ..palette import BACKGROUND

    paint = paint_afresh(scale=2)
    textures = {**{texture: words[0] for texture, words in MATERIALS.items()}, **GROUNDS}
    rows = -(-len(textures) // columns)
    figure = needed('matplotlib.figure', 'report', 'the sheet').Figure(
        figsize=(1.6 * columns, 1.8 * rows), dpi=100, layout='constrained'
    )
    axes = [*figure.subplots(rows, columns).flat]
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    for axis, (texture, name) in zip(axes, textures.items(), strict=False):
        swatch = paint(texture, np.random.default_rng(1), (0, side), (0, side))
        axis.imshow(swatch.clip(0, 1))
        axis.set_title(name, fontsize=11)
        axis.spines[:].set(linewidth=5, color=np.array(COLORS.get(name, BACKGROUND)) / 255)
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

    from ..datasets.materials.dataset import MaterialsDataset, test_scene
    from ..files import make_folder

    make_folder('folder', arguments.folder)
    for seed in range(arguments.count):
        name = f'{seed:05d}'
        scene = test_scene(name, arguments.scale)
        Image.fromarray(scene.image).save(arguments.folder / f'{name}.png')
        mask = Image.fromarray(scene.labels)
        mask.putpalette([channel for color in MaterialsDataset.METAINFO['palette'] for channel in color])
        mask.save(arguments.folder / f'{name}_mask.png')
    draw_sheet(arguments.folder / 'sheet.png')
    print(f'{arguments.count} images and a sheet in {arguments.folder}')
