"""Which images are segmented together."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from ..errors import BenchError


@DATA_SAMPLERS.register_module()
class FixedBatches(Sampler):
    """Batch k is always images k * size .. (k + 1) * size - 1, whoever computes it and whenever.

    Processes take batches in turn, none twice, and a resumed run leaves out whole batches only: an image is always
    computed beside the same images, so that not even rounding depends on how a run was spread or interrupted.

    Args:
        sampler: any sampler with the ``dataset``; its order is not used.
        batch_size: images a batch.
        drop_last: accepted for torch's interface; the last batch is never dropped.

    Raises:
        BenchError: no images a batch.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False) -> None:
        if batch_size < 1:
            raise BenchError(f'test_dataloader.batch_size is {batch_size}; it must be at least 1')
        self.length, self.batch_size = len(sampler.dataset), batch_size
        self.rank, self.processes = get_dist_info()
        self._finished: frozenset[int] = frozenset()

    def leave_out(self, finished: Collection[int]) -> None:
        """Skip the batches all of whose images are in ``finished``."""
        self._finished = frozenset(finished)

    def __iter__(self) -> Iterator[list[int]]:
        open_batches = [batch for batch in self._all() if not self._finished.issuperset(batch)]
        return iter(open_batches[self.rank :: self.processes])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _all(self) -> Iterator[list[int]]:
        for first in range(0, self.length, self.batch_size):
            yield list(range(first, min(first + self.batch_size, self.length)))
