"""The user's words as classes: synonyms, a background, a threshold for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bundled import CLASS_NAMES
from ..errors import BenchError, did_you_mean
from ..vocabulary import Vocabulary, names_of

#: What may be given as classes: text, a file, or a list of classes, each a text or a list of synonyms.
Classes = str | Path | Sequence[str | Sequence[str]]

#: Name of the class of what is none of the words.
BACKGROUND = 'background'


def parse_classes(given: Classes) -> list[list[str]]:
    """Synonyms of each class.

    >>> parse_classes('dog, puppy; boat')
    [['dog', 'puppy'], ['boat']]
    >>> parse_classes(['dog, puppy', 'boat']) == parse_classes([('dog', 'puppy'), 'boat'])
    True

    Args:
        given: a list of classes, each its synonyms as a list or with ", " between them; or as text: the path of a file
            with one class a line, the name of a bundled one (``voc21``), or the classes themselves with "," between
            them, or with ";" where "," separates synonyms.

    Raises:
        BenchError: there is no word, an empty one, or one that stands in two classes.
    """
    if isinstance(given, str | Path):
        text = str(given)
        bundled = {path.stem for path in CLASS_NAMES.glob('*.txt')}
        if Path(text).suffix == '.txt' or text in bundled or isinstance(given, Path):
            classes = Vocabulary(text).classes
        elif ';' in text:
            classes = [[word.strip() for word in line.split(',')] for line in text.split(';') if line.strip()]
        else:
            classes = [[word.strip()] for word in text.split(',') if word.strip()]
    else:
        classes = [line.split(', ') if isinstance(line, str) else [*line] for line in given]
    if not classes:
        raise BenchError('there are no words; give at least one, as "dog, boat, water" or a file with one class a line')
    owner: dict[str, int] = {}
    for index, synonyms in enumerate(classes):
        for word in synonyms:
            if not isinstance(word, str) or not word.strip() or '\n' in word:
                raise BenchError(f'class {index + 1}: {word!r} is no word')
            if owner.setdefault(word.casefold(), index) != index:
                raise BenchError(f'the word "{word}" stands in two classes; leave it out of one')
    return classes


class Words:
    """Classes with or without a background, which is class 0.

    Args:
        classes: see :func:`parse_classes`.
        background: words of what is none of the classes, or True for ``usual``.
        templates: name of a set of prompt templates, or one's own with a ``{}`` each.
        usual: the words that stand for a background where nothing else is said; those of the classes are left out.

    Attributes:
        names: one a class, the background first.
        vocabulary: what methods take.
    """

    def __init__(
        self,
        classes: Classes,
        background: bool | Sequence[str],
        templates: str | Sequence[str],
        usual: Sequence[str],
    ) -> None:
        own = parse_classes(classes)
        self.names = names_of(own)
        if background is not False:
            taken = {word.casefold() for synonyms in own for word in synonyms}
            words = (
                [word for word in usual if word.casefold() not in taken] if background is True else _listed(background)
            )
            both = [word for word in words if word.casefold() in taken]
            if both:
                raise BenchError(f'the word "{both[0]}" is both of the background and of a class; leave it out of one')
            if not words:
                raise BenchError('the background has no words; give some, as background=["sky", "wall"]')
            own, self.names = [words, *own], (BACKGROUND, *self.names)
        if len(set(self.names)) < len(self.names):
            raise BenchError(f'two classes are called "{max(self.names, key=self.names.count)}"; give one another name')
        self.vocabulary = Vocabulary.of_words(own, templates)
        self.has_background = background is not False

    def thresholds(self, given: float | Mapping[str, float] | None, default: float) -> float | Tensor:
        """Probability under which a pixel is background: one for all, or (C,) where classes have their own.

        Args:
            given: one, or by class name; classes that are not named have ``default``.
            default: where nothing is given.

        Raises:
            BenchError: there is no background, no such class, or it is no probability.
        """
        if given is None:
            return default if self.has_background else 0.0
        of_each: Mapping[str, Any] = given if isinstance(given, Mapping) else {'': given}
        for name, value in of_each.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise BenchError(f'threshold {name}{" " if name else ""}is {value!r}; it must be a number from 0 to 1')
            if name and name not in self.names:
                raise BenchError(f'threshold: there is no class {name}{did_you_mean(name, self.names)}')
        if any(of_each.values()) and not self.has_background:
            raise BenchError('a threshold makes pixels background; give background=True, or words for it')
        if not isinstance(given, Mapping):
            return float(given)
        return torch.tensor([float(given.get(name, default)) for name in self.names])


def _listed(background: object) -> list[str]:
    if isinstance(background, str):
        return [word.strip() for word in background.split(',') if word.strip()]
    return list(background)
