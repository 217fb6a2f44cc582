"""How far on the way of an image a method's attribute decides nothing: what methods may share follows from that.

Tokens come first, then the logits of patches, then labels. A method is asked for each in turn, and can read only what
may decide it: one that reads the class names on its way to tokens without saying so is stopped, and shares no wrong
tokens with one that has other class names.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from ..errors import BenchError

TOKENS, LOGITS, LABELS = range(3)

NAMES = ('tokens', 'patch logits', 'labels')


class ReadFrom:
    """An attribute that decides nothing before a stage, and cannot be read before it.

    Args:
        stage: the first that it decides.
    """

    def __init__(self, stage: int) -> None:
        self.stage = stage

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, method: object, owner: type | None = None) -> object:
        if method is None:
            return self
        if method.readable < self.stage:
            raise BenchError(
                f'{type(method).__name__} reads {self.name} on its way to {NAMES[method.readable]}, which methods with '
                'another share; set reads_text = True in its class'
            )
        try:
            return vars(method)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None

    def __set__(self, method: object, value: object) -> None:
        vars(method)[self.name] = value


def frozen(value: object) -> Hashable:
    """Make settings comparable: equal where they are equal by value; what has no value is equal to itself alone."""
    if isinstance(value, Mapping):
        return frozenset((key, frozen(item)) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(frozen, value))
    if isinstance(value, set | frozenset):
        return frozenset(map(frozen, value))
    by_value = isinstance(value, Hashable) and type(value).__hash__ is not object.__hash__
    return value if by_value else id(value)
