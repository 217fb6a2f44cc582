"""The image, and its classes over it, as a JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...files import written_beside

if TYPE_CHECKING:
    from ..result import Segmentation


def write(result: Segmentation, path: Path) -> None:
    with written_beside(path) as temporary:
        result.overlay().save(temporary, 'JPEG', quality=92, subsampling=0)
