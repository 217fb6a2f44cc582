"""What came of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        check: what was looked at.
        problem: what is wrong, where and how often; empty where nothing is.
        mend: what to do about it.
    """

    check: str
    problem: str = ''
    mend: str = ''
