"""Labels as a PNG: 8 bits with the classes' colors as palette, 16 bits of gray from 256 classes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...files import written_beside

if TYPE_CHECKING:
    from ..result import Segmentation


def write(result: Segmentation, path: Path) -> None:
    image = Image.fromarray(result.labels)
    if result.labels.dtype == np.uint8:
        # The last color is that of pixels without data; a color that no class has.
        colors = np.zeros((256, 3), np.uint8)
        colors[: len(result.colors)] = result.colors
        image.putpalette(colors.ravel().tolist())
    text = PngInfo()
    text.add_itxt('classes', '\n'.join(f'{index} {name}' for index, name in enumerate(result.names)))
    if result.random_weights:
        text.add_text('note', 'random weights: the labels mean nothing')
    with written_beside(path) as temporary:
        image.save(temporary, 'PNG', pnginfo=text)
