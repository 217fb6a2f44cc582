"""The refinements that ``model.refine`` can be, by its ``type``; without one it is PAMR."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..errors import BenchError, did_you_mean
from .densecrf import DenseCRF
from .pamr import PAMR
from .refinement import Refinement

REFINEMENTS: dict[str, type[Refinement]] = {'PAMR': PAMR, 'DenseCRF': DenseCRF}


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
        preprocessor: what normalizes the images. DenseCRF measures colors from 0 to 255, and asks for its ``std``.

    Raises:
        BenchError: there is no such refinement or setting, a value does not fit, or the preprocessor does not tell.
    """
    kind = refinement_type(settings)
    refinement = kind(**{name: value for name, value in settings.items() if name != 'type'})
    if isinstance(refinement, DenseCRF):
        deviation = getattr(preprocessor, 'std', None)
        if deviation is None:
            name = type(preprocessor).__name__
            raise BenchError(f'DenseCRF has to know by what colors are divided, and {name} has no std')
        refinement.deviation = tuple(deviation.flatten().tolist())
    return refinement
