"""Labels, names and, where they were asked for, probabilities, as numpy's compressed archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...files import written_beside

if TYPE_CHECKING:
    from ..result import Segmentation


def write(result: Segmentation, path: Path) -> None:
    """Arrays ``labels`` (H, W), ``names`` (C,) and ``probabilities`` (C, H, W) float16."""
    arrays = {'labels': result.labels, 'names': np.array(result.names)}
    if result.probabilities is not None:
        arrays['probabilities'] = result.probabilities.astype(np.float16)
    with written_beside(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)
