"""What is written of every image of a run: overlays, and predictions as index PNGs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..files import output_path, written_beside


class ImageFiles(Hook):
    """Writes a PNG an image into ``folder`` as ``<name>.png``; it changes no setting of the run.

    A PNG's text "run" is the run's key.

    Args:
        folder: made where it is not there.
        names: name of each image by its index.
        key: of the run.
    """

    def __init__(self, folder: Path, names: Sequence[str], key: str) -> None:
        self.folder, self.names, self.key = Path(folder), names, key

    @abstractmethod
    def drawn(self, sample: SegDataSample) -> Image.Image:
        """Make an image's file from its sample, with ``predictions`` and ``truths``."""

    def lacking(self, names: Iterable[str]) -> set[str]:
        """Tell those of ``names`` that have no file of this run: they have to be segmented again."""
        return {name for name in names if not self._is_ours(self._path(name))}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        text = PngInfo()
        text.add_text('run', self.key)
        for sample in outputs:
            if sample.predictions:
                with written_beside(self._path(self.names[sample.sample_idx])) as path:
                    self.drawn(sample).save(path, 'PNG', pnginfo=text)

    def _path(self, name: str) -> Path:
        return output_path(self.folder, name, '.png')

    def _is_ours(self, path: Path) -> bool:
        try:
            with Image.open(path) as image:
                return image.info.get('run') == self.key
        except (FileNotFoundError, UnidentifiedImageError):
            return False
