"""What is written of every image of a run: overlays, and predictions as index PNGs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..files import output_path, written_beside
from .overlay import RANDOM_WEIGHTS


class ImageFiles(Hook):
    """Writes a PNG an image into ``folder`` as ``<name>.png``; it changes no setting of the run.

    A PNG's text "run" is the run's key, its text "image" the digest of image and mask; one made with random weights
    has a text "weights" that says so.

    Args:
        folder: made where it is not there.
        names: name of each image by its index.
        key: of the run.
        digests: of image and mask, by name.
        random_weights: the predictions mean nothing.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], key: str, digests: Mapping[str, str], random_weights: bool = False
    ) -> None:
        self.folder, self.names, self.key, self.digests = Path(folder), names, key, digests
        self.random_weights = random_weights

    @abstractmethod
    def drawn(self, sample: SegDataSample) -> Image.Image:
        """Make an image's file from its sample, with ``predictions`` and ``truths``."""

    def lacking(self, names: Iterable[str]) -> set[str]:
        """Tell those of ``names`` that have no file of this run: they have to be segmented again."""
        return {name for name in names if not self._is_ours(name)}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: list | None = None
    ) -> None:
        for sample in outputs:
            if sample.predictions:
                name, text = self.names[sample.sample_idx], PngInfo()
                for word, said in self._texts(name).items():
                    text.add_text(word, said)
                with written_beside(self._path(name)) as path:
                    self.drawn(sample).save(path, 'PNG', pnginfo=text)

    def _path(self, name: str) -> Path:
        return output_path(self.folder, name, '.png')

    def _texts(self, name: str) -> dict[str, str]:
        random = {'weights': RANDOM_WEIGHTS} if self.random_weights else {}
        return {'run': self.key, 'image': self.digests[name], **random}

    def _is_ours(self, name: str) -> bool:
        try:
            with Image.open(self._path(name)) as image:
                return self._texts(name).items() <= image.info.items()
        except (FileNotFoundError, UnidentifiedImageError):
            return False
