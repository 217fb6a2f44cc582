"""From queries to unit text vectors, cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bundled import PACKAGE
from ..cache import cache_folder
from ..files import written_beside
from ..vocabulary import Vocabulary, check_words
from .clip import FrozenCLIP
from .code import backbone_code

#: Width of a text tower for each batch in which a query's prompts are encoded.
WIDE = 256


_VERSIONS = (torch.__version__, open_clip.__version__)


class Text(NamedTuple):
    """A vocabulary as a backbone sees it, on the backbone's device.

    Attributes:
        vectors: (Q, embed_dim) unit text vectors in fp32.
        query_class: (Q,) int64, the class of each query.
        multiplicity: (Q,) float32, how often each query counts in the softmax.
    """

    vectors: Tensor
    query_class: Tensor
    multiplicity: Tensor


def text_of(backbone: FrozenCLIP, vocabulary: Vocabulary) -> Text:
    """Encode a vocabulary, once a backbone and device."""
    if not is_encoded(backbone, vocabulary):
        backbone.texts[vocabulary] = Text(
            text_vectors(backbone, vocabulary.queries, vocabulary.query_templates),
            vocabulary.query_class.to(backbone.device),
            vocabulary.multiplicity.to(backbone.device),
        )
    return backbone.texts[vocabulary]


def is_encoded(backbone: FrozenCLIP, vocabulary: Vocabulary) -> bool:
    """Tell whether :func:`text_of` has nothing left to compute."""
    known = backbone.texts.get(vocabulary)
    return known is not None and known.vectors.device == backbone.device


@cache
def _code() -> str:
    """Hash what makes text vectors, so that none of older code is used."""
    return backbone_code() + hashlib.sha256((PACKAGE / 'vocabulary.py').read_bytes()).hexdigest()


def tokenizer_name(backbone: FrozenCLIP) -> str:
    """Tell what turns prompts into tokens."""
    return backbone.tokenizer.name


def too_long(backbone: FrozenCLIP, queries: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Name the queries whose end CLIP does not read, as the prompt is longer than its context."""
    tokenize, longest = backbone.tokenizer, max(templates, key=len)
    return [word for word in queries if tokenize.count(longest.replace('{}', word)) > tokenize.context_length]


def text_vectors(
    backbone: FrozenCLIP, queries: Sequence[str], templates: Sequence[str] | Sequence[Sequence[str]]
) -> Tensor:
    """Unit text vectors of ``queries``, (Q, embed_dim) in fp32 on the backbone's device.

    Args:
        templates: of all queries, or of each.

    Each prompt's embedding is normalized, they are averaged over the templates, and the mean is normalized again.
    A query's vector depends on nothing but the query, to the last bit. Vectors are cached on disk a query, under the
    hash of code, weights, tokenizer, templates, query, torch's and open_clip's versions and the kind of device.

    Raises:
        BenchError: two queries are alike to the tower; see :func:`check_words`.
    """
    folder = cache_folder() / 'text'
    parts = (_code(), backbone.weights_hash, backbone.arch, tokenizer_name(backbone), *_VERSIONS)
    paths, vectors = {}, {}
    each = [templates] * len(queries) if not templates or isinstance(templates[0], str) else templates
    of_queries = dict(zip(queries, each, strict=True))
    for query in queries:
        of_query = '\0'.join((*parts, backbone.device.type, *of_queries[query], query))
        key = hashlib.sha256(of_query.encode()).hexdigest()
        paths[query] = folder / key[:2] / f'{key}.npy'
        vectors[query] = _read_vector(paths[query], backbone.embed_dim)
    missing = [query for query, vector in vectors.items() if vector is None]
    # Also where all are known: they may have become so beside other queries.
    check_words(queries, list(dict.fromkeys(chain.from_iterable(each))), backbone.tokenizer)
    for query in missing:
        vectors[query] = _encode(backbone, query, of_queries[query]).cpu()
        _write_vector(paths[query], vectors[query])
    return torch.stack([vectors[query] for query in queries]).to(backbone.device)


def _encode(backbone: FrozenCLIP, query: str, templates: Sequence[str]) -> Tensor:
    tower = backbone.text_tower
    tokens = backbone.tokenizer([template.replace('{}', query) for template in templates])
    # The prompts of one query alone, so that rounding depends on no other; in wide towers those of like lengths
    # together, since the work is linear in the longest, and in narrow ones all, since calls cost more than work.
    embeddings = torch.empty(len(tokens), backbone.embed_dim, device=backbone.device)
    for rows in tower.ends(tokens).argsort(stable=True).tensor_split(max(1, tower.width // WIDE)):
        if len(rows):
            embeddings[rows] = backbone.encode_text(tokens[rows])
    return F.normalize(F.normalize(embeddings, dim=-1).mean(dim=0), dim=-1)


def _read_vector(path: Path, size: int) -> Tensor | None:
    try:
        vector = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(vector) if vector.shape == (size,) and np.isfinite(vector).all() else None


def _write_vector(path: Path, vector: Tensor) -> None:
    """Written beside and renamed, so that no other process reads half of it; a cache that cannot be written is none."""
    with suppress(OSError), written_beside(path) as temporary, temporary.open('wb') as file:
        np.save(file, vector.numpy())
