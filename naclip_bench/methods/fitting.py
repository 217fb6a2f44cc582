"""Which methods fit which backbones: what each needs, against what the family offers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps

from mmseg.registry import MODELS

from ..backbones import FrozenCLIP
from ..backbones.families import FAMILIES, family_of
from ..backbones.sources import find_architecture
from ..configuration import method_bases, read_base
from ..errors import BenchError
from ..settings import parameters_of


def all_settings(method: type, given: Mapping[str, object]) -> dict[str, object]:
    """Fill in the defaults of the settings that a method is not given."""
    return {name: default for name, (_, default) in parameters_of(method)[0].items()} | dict(given)


def needs_of(method: type, given: Mapping[str, object]) -> frozenset[str]:
    """Tell what a method with these settings needs of a backbone; see :mod:`naclip_bench.backbones.families`."""
    return frozenset(method.needs(all_settings(method, given)))


def check_fits(method: type, given: Mapping[str, object]) -> None:
    """See that a method fits the backbone that its settings name, of which nothing is loaded.

    Args:
        method: its class.
        given: its settings, ``backbone`` among them.

    Raises:
        BenchError: it does not; says what is missing, and which methods do fit.
    """
    backbone = given.get('backbone') or {}
    if isinstance(backbone, FrozenCLIP):
        arch, family = backbone.arch, backbone.family
    elif not isinstance(backbone, Mapping):
        return  # what it must be, its annotation says
    else:
        asked = backbone.get('arch', parameters_of(FrozenCLIP)[0]['arch'][1])
        architecture = find_architecture(asked)
        arch, family = architecture.name, family_of(architecture.name, architecture.config)
    missing = needs_of(method, given) - family.offers
    if missing:
        fitting = [name for name, needs in needs_by_base().items() if needs <= family.offers]
        raise BenchError(
            f'{method.__name__} needs {" and ".join(sorted(missing))}, which {arch} ({family.title}) does not offer; '
            f'methods that fit it: {", ".join(fitting)}'
        )


def needs_by_base() -> dict[str, frozenset[str]]:
    """Tell what each method needs as its base config has it, by the base's name."""
    needs = {}
    for name, base in method_bases().items():
        model = dict(base) if isinstance(base, Mapping) else dict(read_base(base).model)
        method = MODELS.get(model.pop('type'))
        # One whose file does not import is not there.
        if method is not None:
            needs[name] = needs_of(method, model)
    return needs


def matrix() -> dict[str, dict[str, bool]]:
    """Tell which method fits which family: by the base's name, then by the family's."""
    return {
        name: {key: needs <= family.offers for key, family in FAMILIES.items()}
        for name, needs in needs_by_base().items()
    }


def matrix_rows() -> list[tuple[str, ...]]:
    """Lay :func:`matrix` out as a table, the names of the families first."""
    ticks = [(name, *('✓' if fits else '' for fits in row.values())) for name, row in matrix().items()]
    return [('', *(family.title for family in FAMILIES.values())), *ticks]


def fitting_backbone(constructor: Callable[..., None]) -> Callable[..., None]:
    """Let an ``__init__`` of a method first see that it fits its backbone; see :func:`check_fits`."""
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def init(self: object, *args: object, **kwargs: object) -> None:
        # The outermost constructor alone knows all settings.
        if type(self).__init__ is init:
            given = dict(signature.bind(self, *args, **kwargs).arguments)
            check_fits(type(self), given | given.pop('kwargs', {}))
        constructor(self, *args, **kwargs)

    return init
