"""What all images and masks of a dataset hold, added up one pair after the other."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from mmengine.dataset import BaseDataset

from ..datasets.finding import Finding
from ..datasets.loading import NOT_SCORED_16_BIT, colors_of, stored_classes
from ..datasets.splits import SHOWN
from ..mask_file import Color, reordered
from .examine import Examined
from .signs import FAULTY, Shown

#: Labels of 16 bits.
LABELS = 1 << 16

#: Kinds of :attr:`Examined.faults`: the check that finds them, what is said of the files, and what mends it.
FAULTS = {
    'image truncated': ('images whole', 'images end in the middle', 'copy them again from their archive'),
    'image unreadable': ('images whole', 'images cannot be decoded', 'copy them again from their archive'),
    'mask truncated': ('masks whole', 'masks end in the middle', 'copy or convert them again'),
    'mask unreadable': ('masks whole', 'masks cannot be decoded', 'copy or convert them again'),
    'mask lossy': (
        'lossless',
        'masks are in a lossy format, which changes labels',
        'use the PNGs that they were made from',
    ),
    'mask of colors': (
        'one label a pixel',
        'masks hold colors in place of labels',
        'a program saved them as RGB: use the index masks (palette or gray PNG) of the archive',
    ),
    'mask of bytes': (
        'one label a pixel',
        'masks have 8 bits a pixel, too few for the classes',
        'convert them again to PNGs of 16 bits',
    ),
    'palette': (
        'order of the palette',
        'masks have colors of the dataset at other labels than its own',
        'a program that shrinks PNGs sorted their palettes: use the masks of the archive',
    ),
    'size': (
        'sizes agree',
        'masks have another size than their image (height x width)',
        'use image and mask of the same archive, neither resized nor rotated',
    ),
}


@dataclass
class Tally:
    """How many files a finding is about, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str, detail: str = '') -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f'{name}: {detail}' if detail else name)

    def say(self, total: int, what: str) -> str:
        more = '; ...' if self.count > SHOWN else ''
        return f'{self.count:,} of {total:,} {what}: {"; ".join(self.first)}{more}'


class Contents:
    """Sums that do not grow with the number of images.

    Args:
        known: the labels that masks may hold.
        scored: those of them that are classes of the dataset, in the order of its classes.
        void: the label that is not scored.
        colors: see :func:`reordered`.
    """

    def __init__(self, known: range, scored: Sequence[int], void: int, colors: Mapping[Color, int]) -> None:
        self.known, self.scored, self.void, self.colors = known, scored, void, colors
        self.pairs = self.masks = self.with_unscored = 0
        self.pixels, self.images = np.zeros(LABELS, np.int64), np.zeros(LABELS, np.int64)
        self._faults: dict[str, Tally] = defaultdict(Tally)
        self._outside, self._outside_labels = Tally(), set()
        self._hash = hashlib.sha256()

    @classmethod
    def of(cls, dataset: BaseDataset) -> Contents:
        """For the masks of a dataset, none of them added yet."""
        first, stored = int(bool(dataset.reduce_zero_label)), list(stored_classes(dataset))
        known = range(first, first + len(stored))
        # A class that stands twice in the dataset's own list is what mmseg makes of it: the first one.
        scored = [first + stored.index(name) for name in dataset.metainfo['classes']] if dataset.label_map else known
        return cls(known, scored, dataset.ignore_index, colors_of(dataset))

    def add(self, name: str, found: Examined) -> None:
        """Add a pair; pairs come in the order of their names, for the fingerprint's sake."""
        self.pairs += 1
        for fault, detail in found.faults.items():
            self._faults[fault].add(name, detail)
        if found.labels is None:
            return
        self.masks += 1
        if found.narrow and self.known.stop > 256:
            self._faults['mask of bytes'].add(name)
        if moved := reordered(found.palette, found.labels, self.colors):
            label, own = next(iter(moved.items()))
            self._faults['palette'].add(name, f'label {label} has the color of label {own}')
        self.pixels[found.labels] += found.pixels
        self.images[found.labels] += 1
        unscored = [label for label in found.labels.tolist() if label not in self.scored]
        self.with_unscored += bool(unscored)
        # Below the first class is what reduce_zero_label ignores.
        outside = [label for label in unscored if label != self.void and label not in self.known]
        outside = [label for label in outside if label > self.known.start]
        if outside:
            self._outside.add(name, _listed(outside))
            self._outside_labels.update(outside)
        self._hash.update(name.encode() + b'\0' + found.digest)

    @property
    def fingerprint(self) -> str | None:
        """sha256 over, for each name in order: the name, a zero byte, and the mask's own sha256 (height and width as
        32 bits each, then the labels as 16 bits each, row by row, little-endian). None where a mask is not in it.
        """
        return self._hash.hexdigest() if self.masks == self.pairs else None

    def findings(self) -> list[Finding]:
        found: dict[str, list[Finding]] = {}
        for fault, (check, what, mend) in FAULTS.items():
            found.setdefault(check, [])
            if fault in self._faults:
                found[check].append(Finding(check, self._faults[fault].say(self.pairs, what), mend))
        return [one for check, all_of_it in found.items() for one in all_of_it or [Finding(check)]] + [self._range()]

    def _range(self) -> Finding:
        if not self._outside.count:
            return Finding('labels in range')
        first, last = self.known[0], self.known[-1]
        what = f'masks hold labels outside {first}..{last} ({_listed(sorted(self._outside_labels))})'
        mend = f'masks of this dataset have {len(self.known)} classes: use its own, converted as docs/data.md says'
        return Finding('labels in range', self._outside.say(self.pairs, what), mend)

    def shown(self, complete: bool) -> Shown:
        """For :func:`sign_findings`; ``complete``: every image of the official list is there."""
        labels = np.flatnonzero(self.pixels)
        # What is void in masks of 16 bits is so too where they lie in the place of others.
        labels = labels[(labels != self.void) & (labels != NOT_SCORED_16_BIT)]
        if self._outside.count < FAULTY * self.masks:
            labels = labels[labels < self.known.stop]
        return Shown(self.masks, int(self.images[self.void]), int(labels.max(initial=-1)), complete)


def _listed(labels: Sequence[int]) -> str:
    """``'81, 82, 83, ... 170'``"""
    last = f', ... {labels[-1]}' if len(labels) > SHOWN else ''
    return ', '.join(map(str, labels[:SHOWN])) + last
