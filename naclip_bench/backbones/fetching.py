"""Files from a cache or the network, and at once an answer where there is no network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import huggingface_hub.constants

from ..errors import BenchError

T = TypeVar('T')

THREE_WAYS = (
    'give them in one of three ways: (1) with network access, let them be downloaded once; '
    '(2) set HF_HOME to a Hugging Face cache that holds them; '
    '(3) set pretrained to a local file (.pt, .safetensors)'
)


class AbsentWeightsError(BenchError):
    """Weights that are neither here nor can be fetched."""


def fetch(download: Callable[[], str], what: str, from_hub: bool = True) -> Path:
    """Fetch a file with one of open_clip's functions, from its cache alone where the hub's name does not resolve.

    Args:
        download: gives the file's path.
        what: what messages call it.
        from_hub: it lies on the Hugging Face hub.

    Raises:
        BenchError: it cannot be had; says in which ways to give it.
    """
    unresolved = _unresolved(huggingface_hub.constants.ENDPOINT) if from_hub else None
    try:
        with offline(unresolved is not None):
            return Path(download())
    except Exception as error:  # whatever went wrong on the way, the file is not here
        raise AbsentWeightsError(
            f'pretrained: {what} cannot be had ({unresolved or _first_line(error)}); {THREE_WAYS}'
        ) from None


def fetch_tokenizer(build: Callable[[], T], name: str) -> T:
    """Build a tokenizer whose files are on the Hugging Face hub, in its cache, or in a folder.

    Raises:
        AbsentWeightsError: they are not; says where they would be found.
    """
    unresolved = None if Path(name).is_dir() else _unresolved(huggingface_hub.constants.ENDPOINT)
    try:
        with offline(unresolved is not None):
            return build()
    except Exception as error:  # as many kinds as there are tokenizers and ways to them
        raise AbsentWeightsError(
            f'arch: the tokenizer {name} cannot be had ({unresolved or _first_line(error)}); let it be downloaded '
            'once, set HF_HOME to a Hugging Face cache that holds it, or set text_cfg.hf_tokenizer_name in a model '
            'config of your own to a folder with its files'
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unresolved(url: str) -> str | None:
    """Why nothing can be reached at ``url``: its name, or that of the proxy in between, does not resolve."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return None
    host, proxies = urlsplit(url).hostname, getproxies()
    proxy = proxies.get(urlsplit(url).scheme, proxies.get('all'))
    if proxy and not proxy_bypass(host):
        host = urlsplit(proxy if '://' in proxy else f'//{proxy}').hostname
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return f'the name {host} does not resolve: {error.strerror or error}'
    return None


@contextmanager
def offline(really: bool = True) -> Iterator[None]:
    """Use the hub's cache alone, as with HF_HUB_OFFLINE; else the hub tries a name again for half a minute a file."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or really
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before
