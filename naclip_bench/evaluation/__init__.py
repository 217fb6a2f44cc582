"""From labels to numbers that carry their proof."""

from . import agreement, boundary, matched, metric, smoothed  # noqa: F401  (registered with mmseg)
