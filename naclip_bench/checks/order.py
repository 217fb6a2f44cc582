"""By how often classes occur tell that masks have them in another repository's order.

Such masks are in range and would be scored without a word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..datasets.finding import Finding
from ..datasets.splits import some
from .signs import FEWEST

#: The classes, by mmseg's names, that most images of the official sets show; by the list of images and how many classes
#: there are without a background.
FREQUENT = {
    ('context', 59): ('sky', 'grass', 'tree', 'person', 'wall', 'building', 'ground', 'floor'),
    ('ade20k', 150): (
        *('wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road', 'windowpane', 'person', 'plant'),
    ),
    ('coco', 80): ('person', 'chair', 'car', 'dining table', 'cup', 'bottle'),
    ('coco', 171): (
        *('person', 'tree', 'wall-concrete', 'sky-other', 'grass', 'clothes', 'building-other', 'metal', 'pavement'),
        'furniture-other',
    ),
}

#: Share of the images of as many most frequent classes that these are seen in. Official masks have 0.9, a tenth of
#: them at least 0.5; another order has 0.2.
LEAST = 1 / 3

#: With fewer images of the most frequent classes nothing is said.
EVIDENCE = 40


def order_findings(split: str | None, classes: Sequence[str], images: np.ndarray, masks: int) -> list[Finding]:
    """Are the classes seen as often as in the official masks? Nothing where nothing can be said.

    Args:
        split: the official list.
        classes: names in the order of the labels.
        images: how many masks show each.
        masks: how many there are.
    """
    if classes[0] == 'background':
        # It is everywhere, and says nothing of the others.
        classes, images = classes[1:], images[1:]
    frequent = FREQUENT.get((split, len(classes)), ())
    labels = [classes.index(name) for name in frequent if name in classes]
    top = np.sort(images)[-len(labels) :].sum() if labels else 0
    if len(labels) < len(frequent) or top < EVIDENCE or masks < FEWEST:
        return []
    if images[labels].sum() >= LEAST * top:
        return [Finding('order of classes')]
    rare = [
        name for name, label in zip(frequent, labels, strict=True) if images[label] <= np.median(images[images > 0])
    ]
    problem = f'other class order: hardly an image shows what most official ones do: {some(rare or frequent)}'
    mend = "the masks are another repository's: take official ones, or give metainfo the classes in their order"
    return [Finding('order of classes', problem, f'{mend} (docs/adding_a_dataset.md)')]
