"""A batch of images and truths in one piece of memory, as it travels from who reads to who computes.

A tensor that another process has read costs a file descriptor and a mapping; one that goes to a GPU is pinned and
copied, and to copy one that is not pinned is to wait. A batch of 32 images and their truths has 64 of them, or one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: Bytes at whose multiples tensors begin, so that their memory can be read as any kind of number.
ALIGNED = 8


class Place(NamedTuple):
    """Where a tensor lies in the memory of its batch."""

    begin: int
    end: int
    dtype: torch.dtype
    shape: torch.Size

    def of(self, memory: Tensor) -> Tensor:
        return memory[self.begin : self.end].view(self.dtype).view(self.shape)


def packed(items: Sequence[dict]) -> dict:
    """Collate items of :class:`SameImages`; :func:`unpacked` gives back what was in them.

    Truths take a byte a pixel where their labels fit.

    Returns:
        ``memory`` (bytes,) uint8, ``places`` of each image and of each truth by dataset, and ``data_samples`` without
        either.
    """
    parts, end = [], 0

    def placed(tensor: Tensor) -> Place:
        nonlocal end
        place = Place(end, end + tensor.nbytes, tensor.dtype, tensor.shape)
        parts.append((place, tensor))
        end = -(-place.end // ALIGNED) * ALIGNED
        return place

    samples = [item['data_samples'] for item in items]
    images = [placed(item['inputs']) for item in items]
    of_truths = [{name: placed(narrowed(of)) for name, of in sample.pop('truths').items()} for sample in samples]
    memory = torch.empty(end, dtype=torch.uint8)
    for place, tensor in parts:
        place.of(memory).copy_(tensor)
    return dict(memory=memory, places=(images, of_truths), data_samples=samples)


def unpacked(batch: dict, device: torch.device) -> dict:
    """``inputs`` and ``data_samples`` with ``truths`` of a batch that :func:`packed` made, on a device, by one copy."""
    memory = batch['memory'].to(device, non_blocking=True)
    images, of_truths = batch['places']
    for sample, truths in zip(batch['data_samples'], of_truths, strict=True):
        sample.truths = {name: place.of(memory) for name, place in truths.items()}
    return dict(inputs=[place.of(memory) for place in images], data_samples=batch['data_samples'])


def narrowed(truth: Tensor) -> Tensor:
    """Labels as bytes where all of them fit, else as they are."""
    fits = truth.numel() == 0 or (int(truth.min()) >= 0 and int(truth.max()) <= 255)
    return truth.to(torch.uint8) if fits else truth
