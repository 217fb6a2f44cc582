"""What a setting may be: declared once, as the annotation of a constructor's parameter, and checked in one line.

    @checked
    def __init__(self, attention: Literal['naclip', 'kk'] = 'naclip', sigma: PositiveFloat = 5.0) -> None: ...

pydantic decides whether a value fits its annotation; the line that says what would have fitted is written from the
same annotation. A parameter without an annotation takes anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate
from pydantic import AllowInfNan, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from .errors import BenchError, did_you_mean

T = TypeVar('T')

#: Characters of a value that a message shows.
SHOWN = 200


def is_odd(value: int) -> bool:
    """Tell whether a number is odd."""
    return value % 2 == 1


FiniteFloat = Annotated[float, AllowInfNan(False)]
PositiveFloat = Annotated[FiniteFloat, Gt(0)]
NonNegativeFloat = Annotated[FiniteFloat, Ge(0)]
#: A probability or a share.
Probability = Annotated[FiniteFloat, Ge(0), Le(1)]
#: How many, at least one.
Count = Annotated[int, Ge(1)]
#: How many, or an index from 0.
NonNegativeInt = Annotated[int, Ge(0)]
OddCount = Annotated[Count, Predicate(is_odd)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
Indices = Annotated[tuple[NonNegativeInt, ...], MinLen(1)]

#: Kinds of values by the words of a message.
WORDS = {
    float: 'a number',
    int: 'a whole number',
    bool: 'True or False',
    str: 'text',
    dict: 'a group of settings',
    NoneType: 'None',
    Callable: 'a function',
}
#: A constraint's words, by its kind.
BOUNDS = {
    Gt: 'above {0.gt}',
    Ge: 'at least {0.ge}',
    Lt: 'under {0.lt}',
    Le: 'at most {0.le}',
    MinLen: '(at least {0.min_length} in all)',
}


def described(annotation: object) -> str:
    """Say what fits an annotation.

    >>> described(Probability | None)
    'a number from 0 to 1 or None'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(described(arguments[0]), arguments[1:])
    if origin in (Union, UnionType):
        return ' or '.join(dict.fromkeys(map(described, arguments)))
    if origin is Literal:
        return ' or '.join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f'({", ".join(map(described, arguments))})'
    if origin is not None and arguments and issubclass(origin, Iterable) and not issubclass(origin, Mapping):
        return f'a list, each {described(arguments[0])}'
    return WORDS.get(origin or annotation) or getattr(annotation, '__name__', str(annotation))


def _bounded(words: str, metadata: tuple[object, ...]) -> str:
    # pydantic's Field() holds its constraints inside.
    inner = [constraint for part in metadata for constraint in getattr(part, 'metadata', ())]
    of = {type(constraint): constraint for constraint in (*metadata, *inner)}
    if Ge in of and Le in of:
        return f'{words} from {of[Ge].ge} to {of[Le].le}'
    limits = [text.format(of[kind]) for kind, text in BOUNDS.items() if kind in of]
    if Predicate in of:
        limits.append(of[Predicate].func.__name__.removeprefix('is_'))
    return f'{words} {" and ".join(limits)}' if limits else words


def parameters_of(of: Callable) -> tuple[dict[str, tuple[object, object]], bool]:
    """Read off what a class or a function can be given: of a class also what it hands on by ``**kwargs``.

    Returns:
        annotation (``Any`` where there is none) and default (``inspect.Parameter.empty`` where there is none) by name,
        and whether it also takes names that are not told.
    """
    constructors = [of]
    if inspect.isclass(of):
        constructors = [cls.__init__ for cls in of.__mro__ if '__init__' in vars(cls) and cls is not object]
    known: dict[str, tuple[object, object]] = {}
    for constructor in constructors:
        hints = _hints(inspect.unwrap(constructor))
        parameters = list(inspect.signature(constructor).parameters.values())
        for parameter in parameters[1:] if inspect.isclass(of) else parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                known.setdefault(parameter.name, (hints.get(parameter.name, Any), parameter.default))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            return known, False
    return known, bool(constructors)


@lru_cache(maxsize=1024)
def _hints(constructor: Callable) -> dict[str, object]:
    """Evaluate annotations one by one: of names that only a type checker sees nothing is known."""
    hints, parameters = {}, inspect.signature(constructor).parameters
    for name, annotation in getattr(constructor, '__annotations__', {}).items():
        try:
            hint = eval(annotation, constructor.__globals__) if isinstance(annotation, str) else annotation
            # Many write ``size: int = None``.
            hints[name] = hint | None if name in parameters and parameters[name].default is None else hint
        except (NameError, AttributeError, TypeError, SyntaxError):
            continue
    return hints


def resolved_settings(where: str, of: Callable, given: Mapping[str, object], filled: Iterable[str] = ()) -> dict:
    """Check the settings given to a class or a function, and fill in the others.

        >>> resolved_settings('model.refine', PAMR, {'dilations': [8]})
        {'iterations': 10, 'dilations': (8,), 'query_chunk': None, 'storage': 'fp32'}

    Args:
        where: what the settings stand in, for the message: ``model.refine``.
        of: what is built of them; see :func:`parameters_of`.
        given: value by name.
        filled: parameters that another fills in: neither asked for nor returned.

    Returns:
        value by name, alike for values that mean the same: a list is a tuple, a whole number a float where one is
        declared.

    Raises:
        BenchError: a name is unknown or missing, or a value does not fit its annotation.
    """
    parameters, takes_others = parameters_of(of)
    known = {name: parameter for name, parameter in parameters.items() if name not in set(filled)}
    for name in given:
        if name not in known and not takes_others:
            raise BenchError(f'there is no setting {where}.{name}{did_you_mean(str(name), known)}')
    missing = [name for name, (_, default) in known.items() if default is inspect.Parameter.empty and name not in given]
    if missing:
        raise BenchError(f'{where}.{missing[0]} is missing; it must be {described(known[missing[0]][0])}')
    resolved = {name: fitting_default(default, annotation) for name, (annotation, default) in known.items()}
    for name, value in given.items():
        resolved[name] = fitting(f'{where}.{name}', value, known[name][0] if name in known else Any)
    return resolved


def fitting(name: str, value: T, annotation: object) -> T:
    """Normalize a value that fits its annotation; see :func:`resolved_settings`.

    Raises:
        BenchError: it does not fit.
    """
    adapter = _adapter(annotation)
    # A list in a config means what a tuple does; some libraries ask for the one, some for the other.
    for form in (tupled(value), value):
        if adapter is None:
            return form
        try:
            return tupled(adapter.validate_python(form))
        except ValidationError:
            continue
    shown = ' '.join(repr(value).split())
    shown = shown if len(shown) <= SHOWN else f'{shown[:SHOWN]} ...'
    raise BenchError(f'{name} is {shown}; it must be {described(annotation)}{_nearest(value, annotation)}')


def fitting_default(default: T, annotation: object) -> T:
    """Normalize a default; one that does not fit its own annotation is nobody's mistake who leaves it as it is."""
    try:
        return fitting('', default, annotation)
    except BenchError:
        return tupled(default)


def tupled(value: T) -> T:
    """Make tuples of lists, inner ones too."""
    return tuple(map(tupled, value)) if type(value) in (list, tuple) else value


def _nearest(value: object, annotation: object) -> str:
    """Which of the words that a setting can be was meant."""
    options = [annotation, *get_args(annotation)] if get_origin(annotation) in (Union, UnionType) else [annotation]
    words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
    hint = did_you_mean(value, words) if isinstance(value, str) else ''
    return hint if hint.startswith('; did') else ''


def _adapter(annotation: object) -> TypeAdapter | None:
    """What checks an annotation; None where it says nothing that can be checked."""
    try:
        hash(annotation)
    except TypeError:
        return _built_adapter(annotation)
    return _kept_adapter(annotation)


def _built_adapter(annotation: object) -> TypeAdapter | None:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError):
        return None


_kept_adapter = lru_cache(maxsize=1024)(_built_adapter)


def checked(constructor: Callable[..., None]) -> Callable[..., None]:
    """Check and normalize what an ``__init__`` is given against its annotations, for those who build in Python.

    Raises:
        BenchError: by the constructor: a value does not fit; see :func:`fitting`.
    """
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def init(self: object, *args: object, **kwargs: object) -> None:
        bound, hints = signature.bind(self, *args, **kwargs), _hints(constructor)
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if name in hints and kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
                bound.arguments[name] = fitting(f'{type(self).__name__}.{name}', value, hints[name])
        constructor(*bound.args, **bound.kwargs)

    return init
