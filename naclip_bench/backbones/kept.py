"""What the untouched blocks made of windows, kept on disk: a new method on old images costs its last block alone.

A window is known by its pixels, so that methods, datasets and protocols which cut the same windows share what is kept.
It is kept in half precision, and read as that also by the run that computes it: numbers do not depend on what was there
before, and differ from those without keeping by the rounding of fp16 (2**-11 of each value), which the key of a result
says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import BenchError
from ..files import make_folder, written_beside
from .code import backbone_code

#: Bytes of a number that is kept.
NUMBER = 2


class KeptTrunk:
    """Tokens of windows in a folder, a file each.

    Args:
        folder: made where it is not there.
        of: what decides the tokens beside the window and this machine's software: weights, precision.

    Raises:
        BenchError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path, of: Sequence[str]) -> None:
        self.folder, self._of = Path(folder), '\0'.join((*of, backbone_code(), torch.__version__)).encode()
        make_folder('model.backbone.keep', self.folder)

    def tokens(
        self, images: Tensor, positions: str, depths: Iterable[int], compute: Callable[[Tensor], dict[int, Tensor]]
    ) -> dict[int, Tensor]:
        """Tokens (N, T, width) at each depth, read where they are kept, else computed and kept.

        Args:
            images: (N, 3, H, W), normalized.
            positions: how the position embedding is interpolated.
            depths: blocks behind which the tokens are wanted.
            compute: gives tokens by depth of some of the images.

        Raises:
            BenchError: a file is damaged, or the folder cannot be written to.
        """
        depths = sorted(depths)
        about = f'{positions} {images.device.type}'
        digests = [self._digest(pixels, about) for pixels in images.detach().float().cpu().numpy()]
        found = [[self._read(digest, depth) for depth in depths] for digest in digests]
        missing = [index for index, of_depths in enumerate(found) if any(part is None for part in of_depths)]
        if missing:
            computed = compute(images[missing])
            for place, depth in enumerate(depths):
                for index, part in zip(missing, computed[depth].half().cpu().numpy(), strict=True):
                    self._write(digests[index], depth, part)
                    found[index][place] = part
        return {
            depth: torch.from_numpy(np.stack([of_depths[place] for of_depths in found])).to(images.device)
            for place, depth in enumerate(depths)
        }

    def _digest(self, pixels: np.ndarray, about: str) -> str:
        digest = hashlib.sha256(self._of)
        digest.update(f'\0{about} {pixels.shape}'.encode())
        digest.update(np.ascontiguousarray(pixels))
        return digest.hexdigest()

    def _path(self, digest: str, depth: int) -> Path:
        return self.folder / digest[:2] / f'{digest[2:34]}-{depth}.npy'

    def _read(self, digest: str, depth: int) -> np.ndarray | None:
        path = self._path(digest, depth)
        try:
            return np.load(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            raise BenchError(f'{path} is damaged ({error}); delete it') from None

    def _write(self, digest: str, depth: int, part: np.ndarray) -> None:
        with written_beside(self._path(digest, depth)) as beside, beside.open('wb') as file:
            np.save(file, part)
