"""Region maps of whole images: integer ids of what belongs together, kept on disk, or read from a folder."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..cache import cache_folder
from ..errors import BenchError
from ..files import FileError, written_beside
from ..mask_file import read_mask
from ..settings import checked
from .base import Helper

#: The highest id of a region: maps are kept in 16 bits.
HIGHEST = 65535


class RegionHelper(Helper):
    """A helper that gives region maps; a subclass finds them (:meth:`regions`), and this keeps them on disk.

    Attributes:
        keeps: maps are kept, and those that are there read; else each is found anew.
    """

    keeps = True

    def of_image(
        self, image: Tensor, size: tuple[int, int], path: str | None = None, original: Tensor | None = None
    ) -> Tensor:
        """Region map (H, W) int64 of an image, of its original size where its file is known.

        Args:
            image: (3, h, w) RGB in 0..1, the image as methods have it; looked at where there is no file.
            size: (H, W) of the original image.
            path, original: see :meth:`Helper.of_image`.

        Raises:
            BenchError: the image or its map cannot be read, or the map is of another size or has ids over 65535.
        """
        original = original_of(image, path, original)
        kept = self._kept(original)
        found = _read(kept) if self.keeps else None
        if found is None:
            found = self.regions(original.to(image.device)).cpu()
            check_regions(found, tuple(original.shape[1:]), path or 'an image')
            if self.keeps:
                self._keep(found, kept)
        return found.to(image.device)

    def _keep(self, found: Tensor, place: Path) -> None:
        with suppress(OSError), written_beside(place) as temporary, temporary.open('wb') as file:
            np.savez_compressed(file, regions=found.numpy().astype(np.uint16))

    def _kept(self, image: Tensor) -> Path:
        """Where the map of an image is kept: under weights and settings, and what the image shows."""
        settings = hashlib.sha256(repr(sorted(self.key.items())).encode()).hexdigest()[:16]
        content = image.mul(255).round().byte().contiguous().cpu().numpy()
        digest = hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()
        return cache_folder() / 'regions' / settings / digest[:2] / f'{digest[2:]}.npz'

    @abstractmethod
    def regions(self, image: Tensor) -> Tensor: ...


@MODELS.register_module()
class RegionFolder(RegionHelper):
    """Region maps made elsewhere, as PNGs of one number a pixel (8 or 16 bits) and the original images' sizes.

    Args:
        folder: holds a ``NAME.png`` for each image ``NAME.jpg``, at any depth; 0 is no region.
    """

    random_weights = False

    @checked
    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder).expanduser()
        self.check({'folder': folder})
        self.arch, self.weights_name = 'folder', self.folder.name

    @classmethod
    def check(cls, settings: dict) -> None:
        folder = Path(settings['folder']).expanduser()
        if not any(folder.rglob('*.png')):
            raise BenchError(f'model.regions.folder: {folder} holds no region maps (NAME.png)')

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted(self.folder.rglob('*.png'))}

    @cached_property
    def weights_hash(self) -> str:
        """Of all maps and their names."""
        digest = hashlib.sha256()
        for name, path in self._files.items():
            digest.update(f'{name}\0'.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def of_image(
        self, image: Tensor, size: tuple[int, int], path: str | None = None, original: Tensor | None = None
    ) -> Tensor:
        file = self._files.get(Path(path or '').stem)
        if file is None:
            raise BenchError(f'model.regions.folder: {self.folder} has no region map {Path(path or "?").stem}.png')
        try:
            found = torch.from_numpy(read_mask(str(file)).labels.astype(np.int64))
        except FileError as error:
            raise BenchError(str(error)) from None
        check_regions(found, size, str(file))
        return found.to(image.device)

    def regions(self, image: Tensor) -> Tensor:
        raise BenchError('a folder knows region maps by the names of images, and this one has none')


def check_regions(regions: Tensor, size: tuple[int, int], name: str) -> None:
    """See that a region map is one of an image.

    Raises:
        BenchError: it is of another size, or has ids that are negative or over 65535.
    """
    if tuple(regions.shape) != tuple(size):
        found, expected = (f'{shape[0]} x {shape[1]}' for shape in (regions.shape, size))
        raise BenchError(f'the region map of {name} is {found}, but the image {expected}')
    if regions.numel() and not 0 <= int(regions.min()) <= int(regions.max()) <= HIGHEST:
        raise BenchError(
            f'the region map of {name} has ids from {regions.min()} to {regions.max()}, not 0 to {HIGHEST}'
        )


def original_of(image: Tensor, path: str | None, original: Tensor | None) -> Tensor:
    """The original of an image where it is known, or the image; see :meth:`Helper.of_image`."""
    if original is not None:
        return original
    return read_rgb(path) if path is not None and Path(path).is_file() else image


def read_rgb(path: str) -> Tensor:
    """Read an image as runs do: (3, H, W) RGB in 0..1.

    Raises:
        BenchError: it cannot be read.
    """
    from ..datasets.loading import LoadImage

    return torch.from_numpy(LoadImage().transform(dict(img_path=path))['img'][..., ::-1].copy()).permute(2, 0, 1) / 255


def _read(path: Path) -> Tensor | None:
    try:
        with np.load(path) as kept:
            return torch.from_numpy(kept['regions'].astype(np.int64))
    except (OSError, ValueError, KeyError, EOFError):
        return None
