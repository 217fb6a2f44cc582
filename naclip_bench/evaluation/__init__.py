"""From labels to numbers that carry their proof."""

from . import agreement, metric, smoothed  # noqa: F401  (registered with mmseg)
