"""How near to what the machine can do a stage comes: rates measured beside the run, and the least it would take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ..inference.pamr import PAMR
from ..methods.base import TrainingFreeSegmentor
from ..timing import seconds_of

#: Bytes of the tensor whose copy measures the memory: far more than caches hold.
COPIED = 2**28

#: Bytes of a logit or a weight of a neighbor, and of a pixel's label.
NUMBER, LABEL = 4, 1


def memory_rate(device: torch.device) -> float:
    """Measure a copy, in bytes read and written a second: the median of three."""
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)  # the first one asks the system for the memory
    return 2 * COPIED / seconds_of(lambda: target.copy_(source), device, 3)


def decode_seconds(paths: Iterable[str]) -> float:
    """Measure decoding of image files alone, on one thread of this process; 0 for images without a file."""
    total = 0.0
    for path in paths:
        if not Path(path).is_file():
            continue
        data = np.fromfile(path, dtype=np.uint8)
        taken = []
        for _ in range(3):
            begin = time.perf_counter()
            cv2.imdecode(data, cv2.IMREAD_COLOR)
            taken.append(time.perf_counter() - begin)
        total += statistics.median(taken)
    return total


@dataclass(frozen=True)
class Work:
    """What an image asks of each stage at the least.

    Attributes:
        flops: operations of trunk and method.
        moved: bytes that the other stages move if each thing is touched once, whatever is kept in caches.
    """

    flops: dict[str, int]
    moved: dict[str, int]

    def least_seconds(self, matrix_rate: float, memory_rate: float) -> dict[str, float]:
        """Seconds of each stage at these rates (FLOP/s, bytes/s)."""
        computed = {stage: flops / matrix_rate for stage, flops in self.flops.items()}
        return computed | {stage: moved / memory_rate for stage, moved in self.moved.items()}


def work_of(model: TrainingFreeSegmentor, size: tuple[int, int], trunk: int, method: int) -> Work:
    """Tell what an image of ``size`` (height, width) asks, its operations being counted.

    Stitching writes the logits of every word at the image's size once, and deciding reads them and writes labels. An
    iteration of PAMR reads and writes the logits and reads the weights of the neighbors; other refinements have no such
    count. Scoring reads prediction and truth.
    """
    pixels, queries = size[0] * size[1], len(model.vocabulary.queries)
    moved = {'stitch+decide': pixels * (2 * NUMBER * queries + LABEL), 'metric': 2 * LABEL * pixels}
    if isinstance(model.refine, PAMR):
        once = NUMBER * (2 * queries + 8 * len(model.refine.dilations))
        moved['refine'] = model.refine.iterations * pixels * once
    return Work({'trunk': trunk, 'method': method}, moved)
