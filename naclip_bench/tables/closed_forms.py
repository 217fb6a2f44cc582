"""Values of the papers' tables that follow from a formula."""

from __future__ import annotations

import math

from .papers import Value


def patches_above(value: Value) -> int:
    """Patches of an endless grid to which NACLIP's Gaussian adds more than tau (its eq. 17 and Table 5).

    Args:
        value: of the row ``sigma=5`` with the settings ``tau=0.8``.
    """
    sigma, tau = (float(text.split('=')[1]) for text in (value.row, value.settings))
    radius = math.ceil(sigma * math.sqrt(-2 * math.log(tau)))
    offsets = range(-radius, radius + 1)
    return sum(math.exp(-(x * x + y * y) / (2 * sigma**2)) > tau for x in offsets for y in offsets)
