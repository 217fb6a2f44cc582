"""What an image and its mask hold, told by a hash: a number stands on the content of files, not on their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mmengine.dataset import BaseDataset

from ..digests import file_digests


def image_digests(dataset: BaseDataset, indices: Sequence[int]) -> list[str]:
    """Hash images and masks of a dataset, a digest for each of ``indices``.

    Files that have not changed since they were hashed are not read again; see :func:`file_digests`.

    Raises:
        BenchError: a file cannot be read.
    """
    infos = [dataset.get_data_info(index) for index in indices]
    if hasattr(dataset, 'drawn'):
        return [_joined(dataset.drawn, info['img_path']) for info in infos]
    paths = [info[key] for info in infos for key in ('img_path', 'seg_map_path')]
    digests = file_digests(paths)
    return [_joined(*pair) for pair in zip(digests[::2], digests[1::2], strict=True)]


def _joined(*parts: str) -> str:
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:32]
