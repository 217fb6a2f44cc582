"""From a class-name file to queries.

A line is a class; its synonyms, separated by ", ", are queries of their own. All queries compete in one softmax, and a
class gets the highest probability among its queries. A first line that is "-" alone is a class without words: a pixel
is of it only where a threshold takes the others away.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from .bundled import CLASS_NAMES, bundled_or_own
from .errors import BenchError, did_you_mean
from .json_files import write_json

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

#: What stands for the words of a first class that has none, and what such a class is called.
WORDLESS, NAMELESS = '-', 'background'

#: Texts to token ids (N, context_length), as open_clip's tokenizers do.
Tokenizer = Callable[[list[str]], torch.Tensor]


class Vocabulary:
    """The queries of a class-name file, and which class each speaks for.

    Args:
        class_names: name of a bundled file (``voc21``), or the path of one's own; see :func:`class_name_file`.
        templates: name of a set of prompt templates, templates of one's own, each with a ``{}``, or the path of a JSON
            file with those of each class, as ``naclip-bench templates`` writes it.

    Attributes:
        classes: the synonyms of each class.
        queries: every query word once, in order of first appearance.
        query_class: (Q,) int64, the class of each query. A word that stands in two classes (COCO-Object has "bed" both
            as background and as a class) ties with itself, and the first class wins every tie: it speaks for that.
        multiplicity: (Q,) float32, how often each query stands in the file; so often it counts in the softmax.
        templates: all that are used; ``query_templates`` are those of each query.
        chosen: what the file says of how the templates of each class were chosen; None without one.
        occurrences: index into ``queries`` of every word of the file in order, repetitions included.
        word_class: the class of the line that each of these words stands in.
        name: the file's name; ``words`` of a vocabulary without a file.
        sha256: of the file's content; ``prompts_sha256`` of the templates.
    """

    def __init__(self, class_names: str | Sequence[str], templates: str | Sequence[str] = 'openai_80') -> None:
        path = class_name_file(class_names)
        try:
            # A byte-order mark is no part of the first word.
            text = path.read_text(encoding='utf-8-sig')
        except UnicodeDecodeError:
            raise BenchError(f'class names: {path} is no UTF-8 text; write one class a line') from None
        self._fill(text, path.stem, path, templates)

    @classmethod
    def of_words(
        cls, classes: Sequence[str | Sequence[str]], templates: str | Sequence[str] = 'openai_80'
    ) -> Vocabulary:
        """Build one without a file.

            Vocabulary.of_words(['dog, puppy', 'boat', ('water', 'sea')])

        Args:
            classes: of each its line in a file, or its synonyms.

        Raises:
            BenchError: there is none, or one has an empty name.
        """
        lines = [of if isinstance(of, str) else ', '.join(of) for of in classes]
        if not lines or any('\n' in line for line in lines):
            raise BenchError('class names: give at least one word, each without a line break')
        vocabulary = cls.__new__(cls)
        vocabulary._fill('\n'.join(lines), 'words', 'the list', templates)
        return vocabulary

    def _fill(self, text: str, name: str, path: Path | str, templates: str | Sequence[str]) -> None:
        self.name, self.path = name, path
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()

        # Only the line break is taken off and only ", " separates, as the released code of the SCLIP family does.
        lines = text.removesuffix('\n').split('\n')
        for number, line in enumerate(lines, 1):
            if not line.strip() or any(not word.strip() for word in line.split(', ')):
                raise BenchError(f'class names: line {number} of {path} has an empty name; write one class a line')
        self.classes: list[list[str]] = [line.split(', ') for line in lines]
        if lines[0] == WORDLESS and len(lines) > 1:
            self.classes[0] = []
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
        self._fill_templates(templates)

    def _fill_templates(self, templates: str | Sequence[str]) -> None:
        self.chosen: dict | None = None
        if isinstance(templates, str) and templates.endswith('.json'):
            choice = read_choice(Path(templates), [', '.join(synonyms) for synonyms in self.classes if synonyms])
            of_class = [tuple(choice['classes'].get(', '.join(synonyms), ())) for synonyms in self.classes]
            self.query_templates = [of_class[index] for index in self.query_class.tolist()]
            self.templates = tuple(dict.fromkeys(chain.from_iterable(self.query_templates)))
            self.chosen = {**choice['about'], 'file': Path(templates).name}
            content = json.dumps(self.query_templates)
        else:
            if isinstance(templates, str) and templates not in TEMPLATES:
                raise BenchError(f'unknown templates "{templates}"{did_you_mean(templates, TEMPLATES)}')
            self.templates = TEMPLATES[templates] if isinstance(templates, str) else tuple(templates)
            self.query_templates = [self.templates] * len(self.queries)
            content = '\n'.join(self.templates)
        if not self.templates or any('{}' not in template for template in self.templates):
            raise BenchError('templates: each must have a {} where the word goes: "a photo of a {}."')
        self.prompts_sha256 = hashlib.sha256(content.encode()).hexdigest()

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


def class_name_file(name: str | Sequence[str]) -> Path:
    """A bundled class-name file by its name, or the path of one's own.

    Args:
        name: a list is a path that was split at its commas, as mmengine's command line does.

    Raises:
        BenchError: there is neither.
    """
    name = ','.join(map(str, name)) if isinstance(name, list | tuple) else str(name)
    return bundled_or_own(name, CLASS_NAMES, 'class names')


def write_choice(path: Path, classes: Mapping[str, Sequence[str]], about: Mapping[str, object]) -> None:
    """Write the templates of each class, by its line in the class-name file, and how they were chosen."""
    write_json(path, {'classes': {name: list(templates) for name, templates in classes.items()}, 'about': dict(about)})


def read_choice(path: Path, classes: Sequence[str]) -> dict:
    """Read what :func:`write_choice` wrote.

    Raises:
        BenchError: there is no such file, or its classes are not ``classes``.
    """
    try:
        choice = json.loads(path.read_text(encoding='utf-8'))
        known = {name: [str(template) for template in templates] for name, templates in choice['classes'].items()}
        about = dict(choice['about'])
    except OSError as error:
        raise BenchError(f'templates: cannot read {path}: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(f'templates: {path} is no file as naclip-bench templates writes it') from None
    absent = [name for name in classes if not known.get(name)]
    if absent:
        more = f' and {len(absent) - 1} more' if len(absent) > 1 else ''
        first = absent[0].split(', ')[0]
        raise BenchError(f'templates: {path} has none for "{first}"{more}; choose them with the same class names')
    return {'classes': known, 'about': about}


def check_words(queries: Sequence[str], templates: Sequence[str], tokenize: Tokenizer) -> None:
    """See that no two queries are alike to CLIP because they were cut at its context length.

    Args:
        queries: see :class:`Vocabulary`.
        templates: prompts with a ``{}`` each.
        tokenize: texts to token ids (N, context_length), cut and padded.

    Raises:
        BenchError: two are; says the words.
    """
    if not queries:
        return
    nothing = tokenize([''])[0]
    context, padding = nothing.numel(), nothing[-1]
    lengths = [int((tokens != padding).sum()) for tokens in tokenize(list(queries))]
    around = max(
        int((tokens != padding).sum()) for tokens in tokenize([template.replace('{}', '') for template in templates])
    )
    # Both counts have a begin and an end, which is more than a word can gain by what touches it.
    long = [query for query, length in zip(queries, lengths, strict=True) if length + around >= context]
    for template in templates if len(long) > 1 else ():
        seen: dict[tuple[int, ...], str] = {}
        for query, tokens in zip(long, tokenize([template.replace('{}', query) for query in long]), strict=True):
            first = seen.setdefault(tuple(tokens.tolist()), query)
            if first != query and tokens[-1] != padding:
                raise BenchError(
                    f'class names: CLIP reads {context} tokens, and "{first}" and "{query}" differ only behind them; '
                    'shorten them'
                )


def printed_names(class_names: str) -> tuple[str, ...]:
    """One name a class to print, no two alike: its first word, or its whole line where two classes begin alike."""
    return names_of(Vocabulary(class_names).classes)


def names_of(classes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Do what :func:`printed_names` does, of classes given by their synonyms."""
    classes = [synonyms or (NAMELESS,) for synonyms in classes]
    begins = Counter(synonyms[0] for synonyms in classes)
    return tuple(synonyms[0] if begins[synonyms[0]] == 1 else ', '.join(synonyms) for synonyms in classes)
