"""What a command line means by its inputs: files, folders, patterns, videos and lists, as images with names."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from ..errors import BenchError
from ..files import FileError
from .inputs import Picture, picture_of

IMAGES = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm', '.jp2', '.avif'}
VIDEOS = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv'}


@dataclass
class Input:
    """An image file, or a frame of a video.

    Attributes:
        path: of the file.
        name: of its outputs, without a suffix.
        frame: number from 0; None for an image.
    """

    path: Path
    name: str
    frame: int | None = None
    pixels: np.ndarray | None = None

    def read(self) -> Picture:
        """Decode it.

        Raises:
            BenchError: see :func:`picture_of`.
        """
        if self.frame is None:
            return picture_of(self.path)
        return Picture(f'{self.path}, frame {self.frame}', self.pixels)

    @cached_property
    def digest(self) -> str:
        """Hash of its content."""
        if self.pixels is not None:
            return hashlib.sha256(self.pixels).hexdigest()
        digest = hashlib.sha256()
        try:
            with self.path.open('rb') as file:
                while part := file.read(2**24):
                    digest.update(part)
        except OSError as error:
            raise FileError(f'cannot read the image {self.path}: {error.strerror}', 'unreadable') from None
        return digest.hexdigest()


def find_inputs(given: Sequence[str], listed: Iterable[str] = ()) -> list[Input]:
    """Images and videos, in the order given, a folder's by name, each once.

    Args:
        given: files, folders (with what lies in folders of them), patterns, and ``-`` for ``listed``.
        listed: paths, one a line.

    Raises:
        BenchError: one is not there, or there is no image in it.
    """
    found: list[tuple[Path, Path]] = []
    for text in given:
        if text == '-':
            lines = [line.strip() for line in listed]
            found += [(Path(line), Path(line).parent) for line in lines if line]
            continue
        path = Path(text).expanduser()
        if '://' in text:
            raise BenchError(f'{text} is an address; download it and give its path')
        if path.is_dir():
            inside = [file for file in sorted(path.rglob('*')) if file.is_file() and _is_known(file)]
            if not inside:
                raise BenchError(f'there is no image in the folder {text}')
            found += [(file, path) for file in inside]
        elif path.is_file():
            found.append((path, path.parent))
        elif glob.has_magic(text):
            matching = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 (** as in a shell)
            inside = [file for file in matching if _is_known(file)]
            if not inside:
                raise BenchError(f'no image matches {text}')
            fixed = Path(*(part for part in _before_magic(path.parts)))
            found += [(file, fixed) for file in inside]
        else:
            raise BenchError(f'there is no file or folder {text}')
    found = list(dict.fromkeys(found))
    if not found:
        raise BenchError('there is no image to segment')
    return [Input(path, name) for (path, _), name in zip(found, _names(found), strict=True)]


def frames(given: Input, every: int) -> Iterator[Input]:
    """An image itself; of a video each ``every``-th frame.

    Raises:
        BenchError: the video cannot be decoded.
    """
    if given.path.suffix.lower() not in VIDEOS:
        yield given
        return
    video, number = cv2.VideoCapture(str(given.path)), 0
    try:
        while video.grab():
            if number % every == 0:
                there, pixels = video.retrieve()
                if not there:
                    raise BenchError(f'the video {given.path} cannot be decoded at frame {number}')
                yield Input(given.path, f'{given.name}/{number:06}', number, np.ascontiguousarray(pixels[..., ::-1]))
            number += 1
    finally:
        video.release()
    if not number:
        raise BenchError(f'the video {given.path} cannot be decoded')


def count_of(given: Input, every: int) -> int:
    """About how many images it is."""
    if given.path.suffix.lower() not in VIDEOS:
        return 1
    video = cv2.VideoCapture(str(given.path))
    count = max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    video.release()
    return -(-count // every)


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGES | VIDEOS and not path.name.startswith('.')


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _names(found: Sequence[tuple[Path, Path]]) -> list[str]:
    """Names of outputs: the path below its folder without suffix; with it, or the whole path, where two are alike."""
    ways = [
        [path.relative_to(folder).with_suffix('').as_posix() for path, folder in found],
        [path.relative_to(folder).as_posix() for path, folder in found],
        [path.as_posix() for path, _ in found],
    ]
    counts = [Counter(names) for names in ways]
    return [
        next(
            (names[index] for names, count in zip(ways, counts, strict=True) if count[names[index]] == 1),
            ways[-1][index],
        )
        for index in range(len(found))
    ]
