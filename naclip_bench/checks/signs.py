"""By what masks tell which dataset they are of, and that a conversion was left out or done twice.

Such masks are often within range and would be scored without a word. What shows them is how far their labels go and how
many of them hold the label that is not scored ("void").
"""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.finding import Finding

#: Fewer masks than this tell nothing.
FEWEST = 10

#: Masks of a kind reach at least this share of its labels' range: rare classes may be absent, not a quarter of all.
REACHED = 0.75

#: Labels out of range in fewer masks than this share are faults of those files, and tell nothing of the others.
FAULTY = 0.1


@dataclass(frozen=True)
class Kind:
    """Masks of one kind.

    Attributes:
        title: what they are called.
        split: the official list that they belong to.
        top: their highest label, that of void apart.
        void: least and greatest share of masks with void pixels.
    """

    title: str
    split: str
    top: int
    void: tuple[float, float]

    def fits(self, shown: Shown) -> bool:
        least, greatest = self.void
        return REACHED * self.top <= shown.highest <= self.top and least <= shown.void_share <= greatest


@dataclass(frozen=True)
class Shown:
    """What the masks of a dataset show.

    Attributes:
        masks: how many there are, and how many ``with_void``.
        highest: label, that of void apart.
        complete: every image of the official list is there.
    """

    masks: int
    with_void: int
    highest: int
    complete: bool

    @property
    def void_share(self) -> float:
        return self.with_void / self.masks


NONE, MOST, ALL, ANY = (0.0, 0.0), (0.5, 1.0), (0.95, 1.0), (0.0, 1.0)

#: Void is a border around every object (VOC), what is unlabeled (COCO-Stuff), what belongs to no class (Cityscapes).
#: ADE20K and Pascal Context have label 0 for that; taking one off all labels makes it void.
KINDS = (
    Kind('Pascal VOC', 'voc', 20, ALL),
    Kind('Pascal VOC with one taken off its labels', 'voc', 19, ALL),
    Kind('Pascal Context', 'context', 59, NONE),
    Kind('Pascal Context with one taken off its labels', 'context', 58, MOST),
    Kind('Pascal Context of 459 classes', 'context', 458, ANY),
    Kind('COCO-Object', 'coco', 80, ANY),
    Kind('COCO-Stuff in train ids', 'coco', 170, MOST),
    Kind("COCO-Stuff in its archive's ids", 'coco', 181, MOST),
    Kind('Cityscapes in train ids', 'cityscapes', 18, MOST),
    Kind('Cityscapes in label ids', 'cityscapes', 33, NONE),
    Kind('ADE20K', 'ade20k', 150, NONE),
    Kind('ADE20K with one taken off its labels', 'ade20k', 149, MOST),
    Kind('ADE20K of 847 classes', 'ade20k', 846, ANY),
)

AS_IN_ARCHIVE = 'take them unchanged from their archive or from naclip-bench data prepare'
SWAPPED = 'two datasets are swapped: put each into its own folder, see docs/data.md'


def kind_of(split: str | None, top: int) -> Kind | None:
    """The kind of masks that a dataset expects; None for one's own data."""
    return next((kind for kind in KINDS if (kind.split, kind.top) == (split, top)), None)


def sign_findings(own: Kind | None, shown: Shown) -> list[Finding]:
    """Void as often as it should be, and masks of the right dataset? Nothing where nothing can be said."""
    if own is None or shown.masks < FEWEST:
        return []
    return [void_finding(own, shown), _kind(own, shown)]


def void_finding(own: Kind, shown: Shown) -> Finding:
    """Is void as often there as in masks of the kind ``own``?"""
    least, greatest = own.void
    if shown.void_share > greatest:
        problem = f'{shown.with_void:,} of {shown.masks:,} masks have pixels that are not scored; no official one has'
        return Finding('void', problem, AS_IN_ARCHIVE)
    if shown.void_share < least:
        without = f'{shown.masks - shown.with_void:,} of {shown.masks:,} masks have no pixel that is not scored'
        if own.void == ALL:
            problem = f'void border lost: {without}; official ones have a border of 255 around every object'
        else:
            problem = f'unlabeled pixels lost: {without}; most official ones have some'
        return Finding('void', problem, f'255 was turned into a class when the masks were saved: {AS_IN_ARCHIVE}')
    return Finding('void')


def _kind(own: Kind, shown: Shown) -> Finding:
    # The rarest of many classes may be in no image.
    all_occur = shown.complete and own.top < 256
    if own.fits(shown) and not (all_occur and shown.highest < own.top):
        return Finding('kind of masks')
    others = [kind for kind in KINDS if kind is not own and kind.fits(shown)]
    if others:
        seen = min(others, key=lambda kind: kind.top)
        return Finding('kind of masks', f'they look like those of {seen.title}, not of {own.title}', _mend(own, seen))
    if shown.highest < own.top and (all_occur or shown.highest < REACHED * own.top):
        problem = f'no label above {shown.highest} in {shown.masks:,} masks; those of {own.title} go up to {own.top}'
        return Finding('kind of masks', problem, 'these are masks of fewer classes: see docs/data.md')
    return Finding('kind of masks')


def _mend(own: Kind, seen: Kind) -> str:
    if seen.split == own.split:
        if seen.top == own.top - 1:
            return f'the dataset would take one off again, so that every class is the next one: {AS_IN_ARCHIVE}'
        if seen.top == own.top + 1:
            return 'their label 0 is no class: set reduce_zero_label=True in the config'
        if seen.top > own.top:
            return 'convert them: naclip-bench data prepare'
    return SWAPPED
