"""Files from a cache or the network, and at once an answer where there is no network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import huggingface_hub.constants

from ..errors import BenchError

THREE_WAYS = (
    'give them in one of three ways: (1) with network access, let open_clip download them once; '
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
        reason = unresolved or (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AbsentWeightsError(f'pretrained: {what} cannot be had ({reason}); {THREE_WAYS}') from None


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
