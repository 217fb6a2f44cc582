"""Models that transformers builds: where their weights lie, and reading them."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from torch import nn

from ..backbones.fetching import fetch
from ..errors import BenchError
from ..optional import needed


def find_model(pretrained: str | Path, what: str) -> str:
    """The folder or name that transformers loads from; what lies on the hub is fetched.

    Args:
        pretrained: a folder that transformers saved, or a name on the Hugging Face hub.
        what: the model is called in messages.

    Raises:
        BenchError: there is none, or it cannot be had.
    """
    place = Path(pretrained).expanduser()
    if place.is_dir():
        return str(place)
    name = str(pretrained)
    if name.count('/') != 1 or name.startswith(('.', '/', '~')):
        raise BenchError(f'pretrained: there is no folder {name} with a {what} that transformers saved')
    for file in ('config.json', 'model.safetensors'):
        fetch(lambda file=file: hf_hub_download(name, file), f'{file} of {name}')
    return name


def read_model(kind: str, place: str, what: str) -> nn.Module:
    """Build transformers' model ``kind`` (``Sam2Model``) with the weights in ``place``, and its own settings.

    Raises:
        BenchError: they cannot be read.
    """
    transformers = needed('transformers', 'helpers', what)
    try:
        return getattr(transformers, kind).from_pretrained(place).eval()
    except Exception as error:  # as many kinds as there are broken folders
        raise BenchError(
            f'pretrained: {place} holds no {what} that can be read: {" ".join(str(error).split())}'
        ) from None
