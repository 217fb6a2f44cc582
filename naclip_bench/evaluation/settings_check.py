"""Settings that a method does not have."""

from __future__ import annotations

import inspect

from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from ..backbones import FrozenCLIP
from ..errors import BenchError, did_you_mean
from ..inference.pamr import PAMR
from ..methods.base import TrainingFreeSegmentor


def check_settings(model: ConfigDict) -> None:
    """See that the method exists, and that it, its backbone and its refinement have all the settings given."""
    methods = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if inspect.isclass(cls) and issubclass(cls, TrainingFreeSegmentor)
    }
    if model.type not in methods:
        raise BenchError(f'unknown method "{model.type}"{did_you_mean(model.type, methods)}')
    # A method hands the settings that are not its own to the class above it.
    own = [cls for cls in methods[model.type].__mro__ if issubclass(cls, TrainingFreeSegmentor)]
    parts = (('model', own, model), ('model.backbone', [FrozenCLIP], model.get('backbone')))
    for where, classes, settings in (*parts, ('model.refine', [PAMR], model.get('refine'))):
        known = {name for cls in classes for name in inspect.signature(cls).parameters} - {'kwargs'} | {'type'}
        if not isinstance(settings, dict | None):
            raise BenchError(f'{where} is {settings!r}; it must be a group of settings: {where}.KEY=VALUE')
        for key in settings or ():
            if key not in known:
                raise BenchError(f'there is no setting {where}.{key}{did_you_mean(key, known)}')
