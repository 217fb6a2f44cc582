"""Pictures of the images on which two rows differ: ground truth and both predictions, segmented again.

The store has matrices and no labels, so that these few images are run once more.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image

from ..datasets.packed import packed
from ..evaluation.leaf import Selection
from ..evaluation.opened import OpenPass, passes_of
from ..evaluation.overlay_files import picture_of
from .compare import Comparison


def compared_pictures(comparison: Comparison) -> dict[str, Image.Image]:
    """Draw each image of a comparison with its ground truth and both predictions; by its name.

    Raises:
        BenchError: images, masks or weights are not there any more.
    """
    found: dict[str, list] = defaultdict(list)
    random_weights = False
    for pass_ in passes_of(comparison.leaves) if comparison.images else ():
        with tempfile.TemporaryDirectory() as folder:
            subset = Path(folder, 'compared.txt')
            subset.write_text(''.join(f'{image.name}\n' for image in comparison.images), encoding='utf-8')
            opened = OpenPass(pass_, Selection(subset=subset))
        random_weights |= any(member.backbone.random_weights for member in opened.members)
        for index, name in enumerate(opened.names):
            (sample,) = opened.model.test_step(packed([opened.data[index]]))
            titles = [comparison.rows[comparison.leaves.index(leaf)] for leaf in opened.leaves]
            labels = {title: of.cpu() for title, of in zip(titles, sample.predictions.values(), strict=True)}
            found[name].append((opened.dataset(opened.leaves[0]), sample, labels))
    pictures = {}
    for image in comparison.images:
        (dataset, sample, _), *_ = found[image.name]
        predicted = {title: of for *_, labels in found[image.name] for title, of in labels.items()}
        ordered = {title: predicted[title] for title in comparison.rows}
        pictures[image.name] = picture_of(dataset, sample, ordered, random_weights)
    return pictures
