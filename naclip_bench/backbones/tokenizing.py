"""Which tokenizer a text tower was trained with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, partial

from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from torch import Tensor

from ..optional import needed
from .fetching import fetch_tokenizer


class Tokenizer:
    """Texts to token ids (N, context_length), cut and padded.

    Args:
        tokenize: open_clip's.
    """

    def __init__(self, tokenize: SimpleTokenizer | HFTokenizer) -> None:
        self._tokenize = tokenize
        self.context_length: int = tokenize.context_length
        self.plain = isinstance(tokenize, SimpleTokenizer)
        # OpenAI's vocabulary is open_clip's own; any other is what its files say.
        vocabulary = tokenize.vocab_size if self.plain else _digest_of(tokenize.tokenizer.get_vocab())
        self.name = f'{type(tokenize).__name__}/{vocabulary}/{self.context_length}'

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return self._tokenize(list(texts))

    def count(self, text: str) -> int:
        """How many tokens a text has, uncut, its begin and end included."""
        if self.plain:
            return len(self._tokenize.encode(text)) + 2
        return len(self._tokenize.tokenizer(self._tokenize.clean_fn(text))['input_ids'])


def tokenizer_of(text: Mapping, place: str | None = None) -> Tokenizer:
    """Build the tokenizer of a ``text_cfg``, once for equal ones.

    Args:
        text: of an open_clip model config.
        place: the folder that the config came from, which then holds the tokenizer's files too.

    Raises:
        BenchError: its files cannot be had.
    """
    name = text.get('hf_tokenizer_name')
    return _built(
        (place or name) if name else None,
        text.get('context_length', DEFAULT_CONTEXT_LENGTH),
        text.get('tokenizer_mode'),
        json.dumps(text.get('tokenizer_kwargs') or {}, sort_keys=True),
    )


@cache
def _built(name: str | None, context_length: int, mode: str | None, settings: str) -> Tokenizer:
    """Built once: OpenAI's reads its vocabulary for half a second, and a plan has hundreds of methods."""
    keywords = json.loads(settings)
    if name is None:
        return Tokenizer(SimpleTokenizer(context_length=context_length, **keywords))
    needed('transformers', 'helpers', f'the tokenizer {name}')
    build = partial(HFTokenizer, name, context_length=context_length, tokenizer_mode=mode, **keywords)
    return Tokenizer(fetch_tokenizer(build, name))


def _digest_of(vocabulary: Mapping[str, int]) -> str:
    return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()[:16]
