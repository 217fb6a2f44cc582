"""From queries to unit text vectors, cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor

from ..files import written_beside
from .clip import FrozenCLIP

#: Raise when a change to the code below changes text vectors, so that no cached one is used again.
CACHE_VERSION = 'v1'


def cache_folder() -> Path:
    """Where text vectors are kept: ``$NACLIP_BENCH_CACHE``, or the user's cache folder."""
    own = os.environ.get('NACLIP_BENCH_CACHE')
    base = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'naclip_bench'
    return Path(own) if own else base


@cache
def _tokenizer(context_length: int) -> open_clip.SimpleTokenizer:
    """Built once: it reads its vocabulary for half a second, and a plan has hundreds of methods."""
    return open_clip.SimpleTokenizer(context_length=context_length)


def text_vectors(backbone: FrozenCLIP, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit text vectors of ``queries``, (Q, embed_dim) in fp32 on the backbone's device.

    Each prompt's embedding is normalized, they are averaged over the templates, and the mean is normalized again.
    Vectors are cached on disk a query, under the hash of weights, tokenizer, templates and query.
    """
    folder = cache_folder() / 'text'
    tokenize = _tokenizer(backbone.context_length)
    tokenizer = f'{type(tokenize).__name__}/{tokenize.vocab_size}/{tokenize.context_length}'
    vectors: dict[str, Tensor] = {}
    missing: dict[str, Path] = {}
    for query in queries:
        parts = (CACHE_VERSION, backbone.weights_hash, backbone.arch, tokenizer, *templates, query)
        key = hashlib.sha256('\0'.join(parts).encode()).hexdigest()
        path = folder / key[:2] / f'{key}.npy'
        vector = _read_vector(path, backbone.embed_dim)
        if vector is None:
            missing[query] = path
        else:
            vectors[query] = vector
    if missing:
        encoded = _encode(backbone, tokenize, list(missing), templates).cpu()
        for (query, path), vector in zip(missing.items(), encoded, strict=True):
            vectors[query] = vector
            _write_vector(path, vector)
    return torch.stack([vectors[query] for query in queries]).to(backbone.device)


def _encode(backbone: FrozenCLIP, tokenize: object, queries: list[str], templates: Sequence[str]) -> Tensor:
    tokens = tokenize([template.replace('{}', query) for query in queries for template in templates])
    # Prompts of one length go together, so that none is padded: the tower's work is linear in the length.
    lengths = tokens.argmax(dim=-1)
    embeddings = torch.empty(len(tokens), backbone.embed_dim, device=backbone.device)
    batch = 256 if backbone.device.type == 'cpu' else 4096
    for length in lengths.unique():
        for rows in (lengths == length).nonzero()[:, 0].split(batch):
            embeddings[rows] = backbone.encode_text(tokens[rows])
    embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
    mean = embeddings.unflatten(0, (len(queries), len(templates))).mean(dim=1)
    return torch.nn.functional.normalize(mean, dim=-1)


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
