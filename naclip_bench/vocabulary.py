"""From a class-name file to queries.

A line is a class; its synonyms, separated by ", ", are queries of their own. All queries compete in one softmax, and a
class gets the highest probability among its queries.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from .bundled import CLASS_NAMES
from .errors import BenchError, did_you_mean

#: Sets of prompt templates by name: the 80 that OpenAI published for ImageNet, the single plain one (GEM), and the 85
#: of MaskCLIP and CLIP Surgery.
TEMPLATES: dict[str, tuple[str, ...]] = {
    'openai_80': tuple(template('{}') for template in OPENAI_IMAGENET_TEMPLATES),
    'photo': ('a photo of a {}.',),
    'openai_85': (
        *(template('{}') for template in OPENAI_IMAGENET_TEMPLATES),
        'there is a {} in the scene.',
        'there is the {} in the scene.',
        'this is a {} in the scene.',
        'this is the {} in the scene.',
        'this is one {} in the scene.',
    ),
}


class Vocabulary:
    """The queries of a class-name file, and which class each speaks for.

    Args:
        class_names: name of a bundled file (``voc21``), or the path of one's own.
        templates: name of a set of prompt templates.

    Attributes:
        classes: the synonyms of each class.
        queries: every query word once, in order of first appearance.
        query_class: (Q,) int64, the class of each query. A word that stands in two classes (COCO-Object has "bed" both
            as background and as a class) ties with itself, and the first class wins every tie: it speaks for that.
        multiplicity: (Q,) float32, how often each query stands in the file; so often it counts in the softmax.
        occurrences: index into ``queries`` of every word of the file in order, repetitions included.
        word_class: the class of the line that each of these words stands in.
        name: the file's name.
        sha256: of the file's content; ``prompts_sha256`` of the templates.
    """

    def __init__(self, class_names: str, templates: str = 'openai_80') -> None:
        if templates not in TEMPLATES:
            raise BenchError(f'unknown templates "{templates}"{did_you_mean(templates, TEMPLATES)}')
        self.templates = TEMPLATES[templates]
        path = class_name_file(class_names)
        try:
            text = path.read_text(encoding='utf-8')
        except UnicodeDecodeError:
            raise BenchError(f'class names: {path} is no UTF-8 text; write one class a line') from None
        self.name, self.path = path.stem, path
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.prompts_sha256 = hashlib.sha256('\n'.join(self.templates).encode()).hexdigest()

        # Only the line break is taken off and only ", " separates, as the released code of the SCLIP family does.
        lines = text.removesuffix('\n').split('\n')
        for number, line in enumerate(lines, 1):
            if not line.strip() or any(not word.strip() for word in line.split(', ')):
                raise BenchError(f'class names: line {number} of {path} has an empty name; write one class a line')
        self.classes: list[list[str]] = [line.split(', ') for line in lines]
        words = [(word, index) for index, synonyms in enumerate(self.classes) for word in synonyms]
        first_class: dict[str, int] = {}
        for word, index in words:
            first_class.setdefault(word, index)
        self.queries: list[str] = list(first_class)
        place = {word: position for position, word in enumerate(self.queries)}
        self.occurrences = torch.tensor([place[word] for word, _ in words])
        self.word_class = torch.tensor([index for _, index in words])
        self.query_class = torch.tensor(list(first_class.values()))
        self.multiplicity = torch.bincount(self.occurrences, minlength=len(self.queries)).float()

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def __eq__(self, other: object) -> bool:
        """Equal words and prompts, whatever the file is called."""
        return isinstance(other, Vocabulary) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def _content(self) -> tuple[str, str]:
        return self.sha256, self.prompts_sha256


def class_name_file(name: str) -> Path:
    """A bundled class-name file by its name, or the path of one's own.

    Raises:
        BenchError: there is neither.
    """
    for path in (Path(name), CLASS_NAMES / f'{name}.txt'):
        if path.is_file():
            return path
    known = [path.stem for path in CLASS_NAMES.glob('*.txt')]
    raise BenchError(f'class names: there is no file {name}{did_you_mean(Path(name).stem, known)}')


def printed_names(class_names: str) -> tuple[str, ...]:
    """One name a class to print, no two alike: its first word, or its whole line where two classes begin alike."""
    classes = Vocabulary(class_names).classes
    begins = Counter(synonyms[0] for synonyms in classes)
    return tuple(synonyms[0] if begins[synonyms[0]] == 1 else ', '.join(synonyms) for synonyms in classes)
