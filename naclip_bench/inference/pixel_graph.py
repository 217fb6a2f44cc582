"""The pixel graph of LPOSS+ (Stojnic et al., CVPR 2025, eq. 8) behind any method.

Logits at the size of the model's image are propagated over a graph of its pixels, each tied to those around it by
colors, and then resized to the original size. They are (1 - alpha) times what the released code gives, which leaves
them on the scale of cosines.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

from torch import Tensor

from ..settings import Count, PositiveFloat, Probability, checked
from .pamr import RefinedLogits
from .propagation import pixel_graph, propagated
from .refinement import Refinement, lower_chunk
from .stitch import PixelLogits
from .windows import Windows


class PixelGraph(Refinement):
    """The settings of the refinement.

    Args:
        radius: of a pixel's neighborhood, in pixels of the model's image.
        tau: difference of colors at which a weight is 1 / e; see :func:`pixel_graph`.
        alpha: share of its neighbors in what a pixel says.
        iterations: of conjugate gradients.
        query_chunk: how many queries are propagated at once; None: what suits the device and the image. Lower it when
            memory runs out. It changes no result but by rounding.

    Attributes:
        normalized: mean and deviation of each channel with which colors of 0 to 255 were normalized before they come
            here; see :func:`build_refinement`.
    """

    @checked
    def __init__(
        self,
        radius: Count = 6,
        tau: PositiveFloat = 0.01,
        alpha: Probability = 0.95,
        iterations: Count = 10,
        query_chunk: Count | None = None,
    ) -> None:
        self.radius, self.tau, self.alpha, self.iterations = radius, tau, alpha, iterations
        self.query_chunk = query_chunk
        self.normalized: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (1.0,) * 3)

    @property
    def image_key(self) -> Hashable:
        return type(self), self.radius, self.tau, self.normalized

    def neighborhood(self, image: Tensor, size: tuple[int, int]) -> Neighbors:
        return Neighbors(self, image)

    def __call__(self, logits: PixelLogits, image: Tensor, near: Neighbors | None = None) -> PropagatedLogits:
        return PropagatedLogits(logits, self, near or self.neighborhood(image, logits.size))


class Neighbors:
    """The graph of an image (3, H, W), which is large and made when it is first asked for."""

    def __init__(self, settings: PixelGraph, image: Tensor) -> None:
        self._settings, self._image = settings, image

    @cached_property
    def graph(self) -> Tensor:
        """See :func:`pixel_graph`.

        Raises:
            BenchError: out of memory.
        """
        settings, image = self._settings, self._image.float()
        with settings.out_of_memory_named(tuple(image.shape[1:]), 'lower model.refine.radius'):
            mean, deviation = image.new_tensor(settings.normalized)[..., None, None]
            return pixel_graph((image * deviation + mean) / 255, settings.radius, settings.tau)


class PropagatedLogits(RefinedLogits):
    """Logits after the pixel graph, computed a chunk of queries at a time."""

    def query_block(self, queries: slice) -> Tensor:
        settings, logits = self._settings, self._logits.of_model()
        graph = self._near.graph
        with settings.out_of_memory_named(self.size, lower_chunk(len(range(self.queries)[queries]))):
            maps = logits.query_block(queries).transpose(0, 1).flatten(1)
            spread = (1 - settings.alpha) * propagated(graph, maps.T, settings.alpha, settings.iterations)
            maps = spread.float().T.unflatten(1, logits.size)
            whole = PixelLogits(maps[None], Windows.over(logits.size, None, 1), self.size)
            return whole.query_block(slice(0, len(maps)))
