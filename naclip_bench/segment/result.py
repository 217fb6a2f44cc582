"""What a segmenter makes of an image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..errors import BenchError
from ..evaluation.overlay import side_by_side
from ..optional import needed
from ..palette import colors_of_names
from .geo import Georeference, Raster
from .outputs import write

#: Longest side of an overlay in pixels; larger images are drawn smaller.
OVERLAY = 2048


@dataclass
class Segmentation:
    """Labels of an image, and what they mean.

    Attributes:
        labels: (H, W) uint8, uint16 from 256 classes on: index into ``names``. The highest number of their kind, 255 or
            65535, stands where a GeoTIFF holds no data.
        names: of the classes.
        image: (H, W, 3) uint8 RGB; of a large GeoTIFF what reads rows of it.
        probabilities: (C, H, W) float32 where they were asked for: softmax over all words, the highest of a class's
            synonyms.
        method: that made it.
        name: of the image.
        georeference: of a GeoTIFF.
        random_weights: the labels mean nothing.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    image: np.ndarray | Raster
    probabilities: np.ndarray | None = None
    method: str = ''
    name: str = 'the image'
    georeference: Georeference | None = None
    random_weights: bool = False

    @property
    def nothing(self) -> int:
        """Label of pixels without data."""
        return int(np.iinfo(self.labels.dtype).max)

    @cached_property
    def colors(self) -> np.ndarray:
        """(C, 3) uint8 RGB of the classes."""
        return colors_of_names(self.names)

    @cached_property
    def areas(self) -> dict[str, int]:
        """Pixels of each class by name, those that do not occur too."""
        # A row at a time: numpy counts in int64.
        counts = np.zeros(self.nothing + 1, np.int64)
        for first in range(0, len(self.labels), 256):
            counts += np.bincount(self.labels[first : first + 256].ravel(), minlength=len(counts))
        return dict(zip(self.names, counts[: len(self.names)].tolist(), strict=True))

    def mask(self, name: str) -> np.ndarray:
        """Where a class is, (H, W) bool."""
        if name not in self.names:
            raise BenchError(f'there is no class {name}; there are {", ".join(self.names)}')
        return self.labels == self.names.index(name)

    @property
    def segments(self) -> list[dict[str, Any]]:
        """A dict with ``label``, ``score`` and ``mask`` for each class that occurs, as ``transformers`` pipelines give.

        The mask is a PIL image of 0 and 255; the score the mean probability over it, None without probabilities.
        """
        found = []
        for index, name in enumerate(self.names):
            mask = self.labels == index
            if mask.any():
                score = None if self.probabilities is None else float(self.probabilities[index][mask].mean())
                found.append(dict(label=name, score=score, mask=Image.fromarray(mask.astype(np.uint8) * 255)))
        return found

    # ---- to look at

    def overlay(self) -> Image.Image:
        """The image, and its classes in color over it, side by side with a legend; at most 2048 pixels a side."""
        image, labels = self.reduced(OVERLAY)
        return side_by_side(
            image,
            {self.method or 'labels': labels},
            self.names,
            self.colors,
            outside='no class',
            random_weights=self.random_weights,
        )

    def reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and labels with sides of at most ``longest`` pixels."""
        height, width = self.labels.shape
        factor = longest / max(height, width)
        if factor >= 1:
            return np.asarray(self.image[:]), self.labels
        size = max(1, round(height * factor)), max(1, round(width * factor))
        if isinstance(self.image, Raster):
            image = self.image.reduced(size)
        else:
            image = cv2.resize(self.image, size[::-1], interpolation=cv2.INTER_AREA)
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, (height, width), strict=True)
        )
        return image, self.labels[rows][:, columns]

    def show(self) -> None:
        """Open the overlay in the system's viewer; a notebook shows a result by itself."""
        self.overlay().show()

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.overlay().save(file, 'PNG')
        return file.getvalue()

    def __repr__(self) -> str:
        total = max(1, sum(self.areas.values()))
        shares = ', '.join(f'{name} {pixels / total:.0%}' for name, pixels in self.areas.items() if pixels)
        return f'Segmentation({self.labels.shape[0]} x {self.labels.shape[1]}: {shares})'

    # ---- as a file

    def save(self, path: str | Path) -> None:
        """Write a file of the format that its suffix names.

        ``.png``: labels with the classes' colors as palette (16 bits from 256 classes on); ``.jpg``: the overlay;
        ``.tif``: labels with the georeference; ``.json``: COCO; ``.geojson``: polygons; ``.npz``: labels and
        probabilities; ``.csv``: pixels and share of each class.

        Raises:
            BenchError: another suffix, a library that is missing, or a place that cannot be written.
        """
        write(self, Path(path))

    # ---- for other libraries

    def to_supervision(self) -> Any:
        """``supervision.Detections``, one for each class that occurs, with its mask and box."""
        supervision = needed('supervision', 'adapters', 'to_supervision')
        there = [index for index, pixels in enumerate(self.areas.values()) if pixels]
        masks = (
            np.stack([self.labels == index for index in there]) if there else np.zeros((0, *self.labels.shape), bool)
        )
        scores = None
        if self.probabilities is not None:
            scores = np.array(
                [self.probabilities[index][mask].mean() for index, mask in zip(there, masks, strict=True)]
            )
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks),
            mask=masks,
            class_id=np.array(there, int),
            confidence=scores,
            data={'class_name': np.array([self.names[index] for index in there])},
        )

    def to_fiftyone(self) -> Any:
        """``fiftyone.Segmentation``; its label k + 1 is class k, as 0 means "nothing" there.

        For ``dataset.default_mask_targets``: ``dict(enumerate(result.names, 1))``.
        """
        fiftyone = needed('fiftyone', 'adapters', 'to_fiftyone')
        kind = np.uint8 if len(self.names) < 255 else np.uint16
        return fiftyone.Segmentation(
            mask=np.where(self.labels == self.nothing, 0, self.labels.astype(np.uint16) + 1).astype(kind)
        )
