"""The refinements that ``model.refine`` can be, by its ``type``; without one it is PAMR."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..errors import BenchError, did_you_mean
from .densecrf import DenseCRF
from .pamr import PAMR
from .pixel_graph import PixelGraph
from .refinement import Refinement

REFINEMENTS: dict[str, type[Refinement]] = {'PAMR': PAMR, 'DenseCRF': DenseCRF, 'PixelGraph': PixelGraph}


def refinement_type(settings: Mapping[str, object]) -> type[Refinement]:
    """Find the class of the settings of a refinement.

    Raises:
        BenchError: there is no such refinement.
    """
    name = settings.get('type', 'PAMR')
    if not isinstance(name, str) or name not in REFINEMENTS:
        raise BenchError(f'model.refine.type is {name!r}, which is no refinement{did_you_mean(str(name), REFINEMENTS)}')
    return REFINEMENTS[name]


def build_refinement(settings: Mapping[str, object], preprocessor: nn.Module) -> Refinement:
    """Build a refinement of its settings.

    Args:
        preprocessor: what normalizes the images. DenseCRF and PixelGraph measure colors, and ask it for ``mean`` and
            ``std``.

    Raises:
        BenchError: there is no such refinement or setting, a value does not fit, or the preprocessor does not tell.
    """
    kind = refinement_type(settings)
    refinement = kind(**{name: value for name, value in settings.items() if name != 'type'})
    if isinstance(refinement, DenseCRF | PixelGraph):
        colors = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
        if any(part is None for part in colors):
            name = type(preprocessor).__name__
            raise BenchError(f'{kind.__name__} has to know how colors are normalized, and {name} has no mean and std')
        refinement.normalized = tuple(tuple(part.flatten().tolist()) for part in colors)
    return refinement
