"""Predictions as index PNGs, to be scored or submitted elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..files import output_path, written_beside


class PredictionHook(Hook):
    """Writes the prediction of every image to ``folder`` as ``<name>.png``; it changes no setting of the run.

    A PNG has the image's original size and the labels of the dataset's mask files: where a dataset reduces the zero
    label, class k is k + 1 there. 8 bits a pixel where all labels fit, else 16. Its text "run" is the fingerprint.

    Args:
        folder: made where it is not there.
        names: name of each image by its index.
        classes: number of classes.
        reduce_zero_label: of the dataset.
        fingerprint: of the run.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], classes: int, reduce_zero_label: bool, fingerprint: str
    ) -> None:
        self.folder, self.names, self.first = Path(folder), names, int(reduce_zero_label)
        self.dtype = np.uint8 if self.first + classes <= 256 else np.uint16
        self.fingerprint = fingerprint

    def written(self, names: Iterable[str]) -> set[str]:
        """Those of ``names`` whose prediction lies in the folder and is this run's."""
        return {name for name in names if self._is_ours(self._path(name))}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        text = PngInfo()
        text.add_text('run', self.fingerprint)
        for sample in outputs:
            labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy() + self.first
            with written_beside(self._path(self.names[sample.sample_idx])) as path:
                Image.fromarray(labels.astype(self.dtype)).save(path, 'PNG', pnginfo=text)

    def _path(self, name: str) -> Path:
        return output_path(self.folder, name, '.png')

    def _is_ours(self, path: Path) -> bool:
        try:
            with Image.open(path) as image:
                return image.info.get('run') == self.fingerprint
        except (FileNotFoundError, UnidentifiedImageError):
            return False
