"""Where the windows of an image lie."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


def starts(size: int, window: int, stride: int) -> list[int]:
    """First pixel of each window along one side; the last window is shifted back inside the image."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride + window, size) - window, 0) for index in range(count)]


@dataclass(frozen=True)
class Windows:
    """The windows of one image: every pair of a row start and a column start, in row-major order.

    Attributes:
        size: (height, width) of the image.
        window: (height, width) of every window; a side of the image that is shorter bounds it.
        tops, lefts: first pixels of the windows along each side.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def over(cls, size: tuple[int, int], window: int | None, stride: int) -> Windows:
        """Square windows of side ``window`` every ``stride`` pixels, or the whole image in one where it is None."""
        if window is None:
            return cls(size, size, (0,), (0,))
        tops, lefts = (tuple(starts(side, window, stride)) for side in size)
        return cls(size, (min(window, size[0]), min(window, size[1])), tops, lefts)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def crop(self, image: Tensor) -> list[Tensor]:
        """Views (3, h, w) of ``image`` (3, H, W), one a window."""
        height, width = self.window
        return [image[:, top : top + height, left : left + width] for top in self.tops for left in self.lefts]
