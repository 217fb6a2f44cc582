"""A segmenter as a folder: ``segmenter.json``, small enough to read, and weights that were a local file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import BenchError
from ..files import link_or_copy, make_folder
from ..json_files import write_json

if TYPE_CHECKING:
    from .segmenter import Segmenter

#: The file, and the version of what stands in it.
FILE, FORMAT = 'segmenter.json', 1


def save_segmenter(segmenter: Segmenter, folder: Path) -> None:
    """Write ``segmenter.json``; weights that are a local file are put beside it."""
    make_folder('save_pretrained', folder)
    asked = dict(segmenter.asked)
    weights = asked['weights']
    if weights is not None and Path(str(weights)).is_file():
        name = Path(str(weights)).name
        link_or_copy(Path(str(weights)), folder / name)
        asked['weights'] = name
    own = segmenter.asked['background'] is not False or not segmenter.is_of_config
    about = {'naclip_bench': __version__, 'format': FORMAT}
    write_json(folder / FILE, {**about, **asked, 'classes': segmenter.classes if own else None})


def saved_arguments(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_segmenter` wrote, as arguments of :class:`Segmenter`.

    Raises:
        BenchError: there is none, or it is of a later version.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict) or 'method' not in content:
            raise ValueError('it describes no segmenter')
    except FileNotFoundError:
        raise BenchError(f'there is no {path}; give a folder that save_pretrained wrote') from None
    except (OSError, ValueError) as error:
        raise BenchError(f'cannot read {path}: {error}') from None
    if content.pop('format', FORMAT) > FORMAT:
        raise BenchError(f'{path} was written by a later naclip_bench, {content.get("naclip_bench")}; install that one')
    content.pop('naclip_bench', None)
    beside = folder / str(content.get('weights'))
    if beside.is_file():
        content['weights'] = str(beside)
    return content
