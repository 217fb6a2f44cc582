"""What refinements of an image's logits have in common: settings, an image's own part, and bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import BenchError, is_out_of_memory
from .decide import decide
from .stitch import PixelLogits

#: Logits that are refined at once where the config does not say: as many as keep a GPU busy, or 26 MiB on a CPU. There
#: memory near 32 MiB goes back to the system after each use and comes again page by page, longer than the work takes.
CHUNK_ELEMENTS = {'cpu': 13 * 2**19, 'cuda': 2**24}

#: Queries of one vector instruction: 28 of them take longer than 32.
VECTOR = 8


class Refinement(ABC):
    """The settings of a refinement; equal where they are equal by value."""

    query_chunk: int | None

    #: What rounding may change of a refined logit, as a share of the highest, where it is a mean of the query's logits
    #: around; None where it is none, so that a query which leads another everywhere may come to lie behind it.
    rounding: float | None = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    @property
    @abstractmethod
    def image_key(self) -> Hashable:
        """What :meth:`neighborhood` depends on: refinements for which it is equal share it."""

    @abstractmethod
    def neighborhood(self, image: Tensor, size: tuple[int, int]) -> object:
        """What is known of an image alone: how its pixels, resized to ``size``, are tied to each other.

        Args:
            image: (3, H, W) the image at the model's input size, normalized.

        Raises:
            BenchError: out of memory.
        """

    @abstractmethod
    def __call__(self, logits: PixelLogits, image: Tensor, near: object = None) -> object:
        """Logits that :meth:`decide` refines, or that are refined when they are asked for.

        Args:
            logits: the logits before the softmax.
            image: see :meth:`neighborhood`.
            near: what :meth:`neighborhood` gave for this image, where it is known.

        Raises:
            BenchError: out of memory. The image is never scored without its refinement.
        """

    #: From what the call gave to labels (H, W); see :func:`naclip_bench.inference.decide.decide`.
    decide = staticmethod(decide)

    def chunks(self, queries: int, size: tuple[int, int], device: torch.device) -> list[slice]:
        """Queries that are refined together."""
        step = self.query_chunk
        if step is None:
            elements = CHUNK_ELEMENTS.get(device.type, CHUNK_ELEMENTS['cuda'])
            most = max(1, elements // (size[0] * size[1]) // VECTOR)
            # Chunks of like size: a small last one would cost nearly as much as a large one.
            vectors = -(-queries // VECTOR)
            step = -(-vectors // -(-vectors // most)) * VECTOR
        return [slice(first, min(first + step, queries)) for first in range(0, queries, step)]

    @contextmanager
    def out_of_memory_named(self, size: tuple[int, int], mend: str) -> Iterator[None]:
        """Turn a failed allocation into a line that says what to lower."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            name = type(self).__name__
            raise BenchError(f'{name} ran out of memory on an image of {size[0]}x{size[1]}; {mend}') from None


def lower_chunk(at_once: int) -> str:
    """How to mend a lack of memory where ``at_once`` queries were refined together."""
    return f'lower model.refine.query_chunk, which is {at_once} here (it changes no result but by rounding)'
