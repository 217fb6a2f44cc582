"""What the page asks for, without the page: labels of an image by several methods, and where a patch of it looks."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from ..datasets.materials.dataset import CLASSES, test_scene
from ..errors import BenchError
from ..evaluation.overlay import side_by_side
from ..figures import picture as figures
from ..figures.attention import attention, draw_attention
from ..segment.inputs import Picture, picture_of
from ..segment.outputs.shares import rows_of, write_table
from ..segment.result import Segmentation
from ..segment.running import model_input, segment_pictures
from ..segment.segmenter import Segmenter

#: Longest side in pixels of a panel on the page.
PANEL = 1024

#: Images of Materials that are offered, and how many times finer than the benchmark's own they are drawn.
EXAMPLES, SCALE = ('00010', '00026', '00000', '00034'), 4

#: Words of an example beside those of what is on it.
MORE_WORDS = 4


@dataclass(frozen=True)
class Asked:
    """What the controls of the page say.

    Attributes:
        methods: names.
        words: see :func:`naclip_bench.segment.words.parse_classes`.
        background: a class for what is none of the words.
        threshold: probability under which a pixel is background, where there is one.
        sigma: of NACLIP's Gaussian, in patches; other methods have none.
        pamr: iterations of the refinement PAMR; 0 for none.
    """

    methods: Sequence[str]
    words: str
    background: bool = False
    threshold: float = 0.1
    sigma: float = 5.0
    pamr: int = 0


class Workbench:
    """Segment images with one frozen CLIP, as a page asks for it.

    Args:
        segmenter: its weights are those of all methods.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    @property
    def random_weights(self) -> bool:
        return self.segmenter.member.backbone.random_weights

    def segment(self, given: Any, asked: Asked) -> list[Segmentation]:
        """Segment an image with each method; what they have in common is computed once.

        Args:
            given: see :func:`naclip_bench.segment.inputs.picture_of`.

        Raises:
            BenchError: there is no image, no word or no method, or something is wrong with one.
        """
        picture = _picture(given)
        return [of for (of,) in segment_pictures(self._segmenters(asked), [picture])]

    def attention(self, given: Any, asked: Asked, point: tuple[int, int]) -> Image.Image:
        """Draw where the patch under a pixel (x, y) looks, in each method's last block, the whole image one window.

        Raises:
            BenchError: see :meth:`segment`; or a method does not tell.
        """
        picture, segmenters = _picture(given), self._segmenters(asked)
        image = np.asarray(picture.image[:])
        seen = figures.Picture('the image', image, model_input(segmenters[0], image))
        members = {str(segmenter.asked['method']): segmenter.member for segmenter in segmenters}
        file = io.BytesIO()
        draw_attention(attention(seen, members, [point]), title='').savefig(file, format='png')
        return Image.open(file)

    def _segmenters(self, asked: Asked) -> list[Segmenter]:
        if not asked.methods:
            raise BenchError('there is no method; choose one')
        return [
            self.segmenter.with_method(
                method,
                asked.words,
                background=asked.background,
                threshold=asked.threshold if asked.background else None,
                settings=_settings(method, asked),
            )
            for method in asked.methods
        ]


def panels(results: Sequence[Segmentation], opacity: float) -> Image.Image:
    """Draw an image, and what each method makes of it, side by side under one legend."""
    first = results[0]
    reduced = {result.method: result.reduced(PANEL) for result in results}
    image = reduced[first.method][0]
    labels = {method: of for method, (_, of) in reduced.items()}
    return side_by_side(
        image, labels, first.names, first.colors, 'no class', random_weights=first.random_weights, opacity=opacity
    )


def archive(results: Sequence[Segmentation], opacity: float, path: Path) -> None:
    """Write a zip: of each method the PNG of labels, what the page shows, and pixels of each class as CSV."""
    with TemporaryDirectory() as folder, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        rows = []
        for result in results:
            result.save(Path(folder) / f'labels_{result.method.replace("/", "_")}.png')
            rows += rows_of('image', result.method, result.areas)
        write_table(Path(folder) / 'shares.csv', rows)
        panels(results, opacity).save(Path(folder) / 'panels.png')
        for made in sorted(Path(folder).iterdir()):
            file.write(made, made.name)


def examples(folder: Path) -> list[tuple[str, str]]:
    """Draw images of Materials into a folder: the path of each, and words for it."""
    found = []
    for place, name in enumerate(EXAMPLES):
        scene = test_scene(name, SCALE)
        labels, pixels = np.unique(scene.labels[scene.labels > 0], return_counts=True)
        there = [CLASSES[label - 1] for label in labels[np.argsort(-pixels, kind='stable')]]
        absent = [word for word in CLASSES if word not in there][place::5][:MORE_WORDS]
        Image.fromarray(scene.image).save(folder / f'materials_{name}.png')
        found.append((str(folder / f'materials_{name}.png'), ', '.join([*there, *absent])))
    return found


def _picture(given: Any) -> Picture:
    if given is None:
        raise BenchError('there is no image; drop one, or choose an example')
    return picture_of(given)


def _settings(method: str, asked: Asked) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    # GCLIP has a sigma, too, which is another thing.
    if method == 'naclip':
        settings['model.sigma'] = asked.sigma
    if asked.pamr:
        settings['model.refine'] = dict(iterations=asked.pamr)
    return settings
