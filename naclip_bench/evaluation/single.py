"""A run of one leaf, with what is written of its images and of its result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.dist import is_main_process

from ..errors import BenchError
from ..files import make_folder
from ..json_files import write_json
from .image_files import ImageFiles
from .leaf import Leaf, Selection
from .opened import OpenPass, Pass
from .overlay_files import OverlayFiles
from .predictions import PredictionFiles
from .record import RANDOM_WEIGHTS
from .run import Result, run
from .store import Store


@dataclass(frozen=True)
class Outputs:
    """Where files of a run go.

    Attributes:
        work_dir: for ``result.json``.
        show_dir: for overlays; None draws none.
        save_predictions: for predictions as index PNGs; None saves none.
    """

    work_dir: Path
    show_dir: Path | None = None
    save_predictions: Path | None = None

    @property
    def result(self) -> Path:
        return self.work_dir / 'result.json'

    def files(self, opened: OpenPass) -> Sequence[ImageFiles]:
        """Say what the numbers will be worth, and make what is written of every image."""
        (leaf,), (key,), (member,) = opened.leaves, opened.keys, opened.members
        dataset, deviation = opened.dataset(leaf), opened.deviation(leaf)
        if is_main_process():
            if member.random_weights:
                print(RANDOM_WEIGHTS)
            chosen = member.vocabulary.chosen
            if chosen:
                among = f', {chosen["scored"]} of them among those that are scored' if chosen.get('scored') else ''
                print(f'note: each class has templates of its own, chosen on {chosen.get("images")} images{among}')
            if deviation:
                print(f'note: the data are not the official list "{deviation.split}": {deviation}')
        where = (opened.names, key, opened.digests_of(key), member.backbone.random_weights)
        found: list[ImageFiles] = []
        if self.show_dir is not None:
            found.append(OverlayFiles(dataset, self.show_dir, *where))
        if self.save_predictions is not None:
            found.append(PredictionFiles(dataset, self.save_predictions, *where))
        return found


def run_single(leaf: Leaf, selection: Selection, store: Store, outputs: Outputs, fresh: bool = False) -> Result | None:
    """Run one leaf and write ``result.json``; None in processes that are not the first.

    Args:
        fresh: see :func:`run`.

    Raises:
        BenchError: see :func:`run`; or another run has the same ``work_dir``.
    """
    pass_ = Pass([leaf])
    # Before any folder is made.
    pass_.check(selection)
    for option, folder in (
        ('--work-dir', outputs.work_dir),
        ('--show-dir', outputs.show_dir),
        ('--save-predictions', outputs.save_predictions),
    ):
        make_folder(option, folder)
    with ExitStack() as stack:
        if is_main_process():
            stack.enter_context(_locked(outputs.work_dir))
        result = run([pass_], selection, store, outputs.files, fresh).get(leaf)
        if result is not None:
            write_json(outputs.result, result.record)
    return result


def _locked(work_dir: Path) -> FileLock:
    """Keep a folder of results for this run, from start to end."""
    lock = FileLock(work_dir / '.lock', blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise BenchError(
            f'another run is using {work_dir}; wait for it to end, or name another folder for this one (--work-dir)'
        ) from None
    return lock
