"""The one run: leaves on one frozen CLIP over one list of images, through mmengine's test loop, into a store."""

from __future__ import annotations

import logging
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, broadcast_object_list, get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..backbones.text import Text, text_of
from ..console import telling
from ..datasets.packed import packed
from ..datasets.sampler import FixedBatches
from ..errors import BenchError, say
from ..methods.side_by_side import SideBySide
from ..timing import STOPWATCH
from .image_files import ImageFiles
from .journal import Finished
from .key import versions
from .leaf import Leaf, Selection
from .metric import LeafCounter
from .opened import OpenPass, Pass, check_helpers
from .progress import ProgressHook
from .record import device_record, result_record
from .store import Entry, Store

#: Seconds between two looks at leaves that another process computes.
PATIENCE = 2.0

#: Settings of a loader that are the run's own matter.
OWN_LOADING = ('dataset', 'sampler', 'batch_sampler', 'batch_size')

#: Makes what a run of one leaf writes of every image, from the opened pass.
Files = Callable[[OpenPass], Sequence[ImageFiles]]


@dataclass(frozen=True)
class Result:
    """A leaf's numbers over the images of a run.

    Attributes:
        record: see docs/result.md.
        cells: each image's confusion matrix as its non-zero entries, by name; see :func:`to_cells`.
        computed: how many of the images this run computed; the others were in the store.
    """

    record: dict
    cells: dict[str, np.ndarray]
    computed: int = 0

    @property
    def classes(self) -> int:
        return len(self.record['per_class'])


# No wrapper around it: a frozen model has no gradients to share between processes, and its modules, which each member
# has anew, need no looking through for layers that share statistics.
MODEL_WRAPPERS.register_module(module=SideBySide)


def run(
    passes: Sequence[Pass],
    selection: Selection,
    store: Store,
    files: Files = lambda opened: (),
    fresh: bool = False,
    keep_going: bool = False,
    skip: Callable[[Pass, BenchError], None] | None = None,
) -> dict[Leaf, Result]:
    """Compute what the store lacks of the leaves of some passes, and read all of them.

        leaf = Leaf('naclip_voc21', load_config('naclip_voc21'))
        run(passes_of([leaf]), Selection(limit=4), Store(Path('work_dirs/results')))[leaf].record['metrics']

    Everything is checked before anything is computed. Under several processes (see :mod:`.processes`) each computes its
    share of the images, and the first reads and writes the store; the others get no results.

    Args:
        files: what is written of every image; its images without such a file are computed again.
        fresh: compute everything anew.
        keep_going: run the other passes where one lacks something, and the other leaves where one lacks a helper; else
            nothing is run.
        skip: told of a pass that is left out, because it lacks something or fails; None: the run ends there.

    Raises:
        BenchError: what the user can mend; what is finished stays in the store.
    """
    if keep_going and skip:
        passes = [whole for pass_ in passes for whole in _with_their_helpers(pass_, skip)]
    possible = [pass_ for pass_ in passes if _is_possible(pass_, selection, skip if keep_going else None)]
    results: dict[Leaf, Result] = {}
    waiting: list[tuple[Pass, Sequence[ImageFiles] | None]] = []
    # Those that wait for another process come last.
    for pass_, written in chain(((pass_, None) for pass_ in possible), waiting):
        opened = None  # the last one's model, which the next one needs the room of
        try:
            with telling(f'{pass_.title}: weights and data'):
                opened = OpenPass(pass_, selection)
            if written is not None:
                _wait_for(opened, store, written, fresh)
            else:
                written = files(opened)
                if not _run_pass(opened, store, written, fresh):
                    waiting.append((pass_, written))
                    continue
            results |= read_results(opened, store)
        except BenchError as error:
            # Of several processes the others would wait for this one.
            if skip is None or get_world_size() > 1:
                raise
            skip(pass_, error)
    return results


def _with_their_helpers(pass_: Pass, skip: Callable[[Pass, BenchError], None]) -> list[Pass]:
    """The pass without the leaves whose helpers are not at hand, of which ``skip`` is told; empty without any left."""
    lacking: dict[str, tuple[list[Leaf], BenchError]] = {}
    for leaf in pass_.leaves:
        error = None
        try:
            check_helpers(leaf)
        except BenchError as found:
            error = found
        error = next(filter(None, all_gather_object(error)), None)
        if error is not None:
            lacking.setdefault(str(error), ([], error))[0].append(leaf)
    for leaves, error in lacking.values():
        skip(Pass(leaves), error)
    without = {leaf for leaves, _ in lacking.values() for leaf in leaves}
    left = [leaf for leaf in pass_.leaves if leaf not in without]
    return [Pass(left)] if left else []


def _is_possible(pass_: Pass, selection: Selection, skip: Callable[[Pass, BenchError], None] | None) -> bool:
    error = None
    try:
        pass_.check(selection)
    except BenchError as found:
        error = found
    # Where one process lacks something, all leave it out.
    error = next(filter(None, all_gather_object(error)), None)
    if error is not None:
        if skip is None:
            raise error
        skip(pass_, error)
    return error is None


def _run_pass(opened: OpenPass, store: Store, files: Sequence[ImageFiles] = (), fresh: bool = False) -> bool:
    """Compute what no other process is computing; False where that leaves something to wait for."""
    lacking = set().union(*(of.lacking(opened.names) for of in files))
    with ExitStack() as stack:
        finished: dict[str, dict[str, Finished]] = {}
        missing: list[str] = []
        if is_main_process():
            missing = [key for key in opened.places if fresh or lacking or opened.missing(key, store.digests(key))]
            claimed = stack.enter_context(store.claimed(missing))
            for key in claimed:
                entry = store.get(key)
                done = entry.images if entry else {}
                # Another process may have finished it since it was looked for.
                if fresh or lacking or len(opened.fitting(key, done)) < len(opened.names):
                    finished[key] = {**done, **store.unsealed(key)}
                else:
                    missing.remove(key)
        # Whether another process computes some of it, and what is finished of the rest: all processes agree.
        seen = {
            key: {name for name in opened.fitting(key, images) if not fresh and name not in lacking}
            for key, images in finished.items()
        }
        missing, seen = _from_main((missing, seen))
        if seen:
            _compute(opened, store, seen, finished, files, fresh)
        barrier()
    return len(seen) == len(missing)


def _from_main(value: object) -> object:
    values = [value]
    broadcast_object_list(values)
    return values[0]


def _compute(
    opened: OpenPass,
    store: Store,
    seen: Mapping[str, set[str]],
    finished: Mapping[str, dict[str, Finished]],
    files: Sequence[ImageFiles],
    fresh: bool,
) -> None:
    counters = {key: opened.counter(key, store.journal(key)) for key in seen}
    STOPWATCH.reset()
    begin = time.perf_counter()
    try:
        _loop(opened, counters, seen, finished, files)
    except BaseException:
        kept = max((len(seen[key]) + len(counter.counted) for key, counter in counters.items()), default=0)
        if kept and store.lasting and is_main_process():
            goes_on = 'a run that is not fresh' if fresh else 'the same command'
            done = f'{kept:,} of {len(opened.names):,} images are finished and kept in {store.folder}'
            say(f'note: {done}; {goes_on} goes on with the rest')
        raise
    finally:
        for counter in counters.values():
            counter.journal.close()
    seconds, stages = time.perf_counter() - begin, STOPWATCH.seconds()
    counted: dict[str, dict[str, Finished]] = {}
    for key, counter in counters.items():
        for part in all_gather_object(counter.counted):
            counted.setdefault(key, {}).update(part)
    session = {
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
        'wall': seconds,
        'images': max(map(len, counted.values())),
        'leaves': len(seen),
        'stages': stages,
        'device': device_record(opened.device),
        'versions': versions(),
    }
    if is_main_process():
        for key, images in counted.items():
            _put(opened, store, key, {**finished[key], **images}, session)
            opened.computed[key] = len(images)


def _put(opened: OpenPass, store: Store, key: str, images: dict[str, Finished], session: dict) -> None:
    missing = opened.missing(key, {name: image.digest for name, image in images.items()})
    if missing:
        leaf = opened.leaf_of(key)
        raise BenchError(f'{leaf.name}: {len(missing)} images were not computed, the first {missing[0]}')
    entry = store.get(key)
    sessions = [*(entry.about['sessions'] if entry else []), session]
    about = {'parts': opened.parts[opened.places[key]], 'classes': opened.classes(key), 'sessions': sessions}
    store.put(key, about, images)


def _loop(
    opened: OpenPass,
    counters: Mapping[str, LeafCounter],
    seen: Mapping[str, set[str]],
    finished: Mapping[str, dict[str, Finished]],
    files: Sequence[ImageFiles],
) -> None:
    """Lead this process's share of the images that some leaf lacks through mmengine's test loop."""
    opened.model.finished = opened.finished_members(seen)
    # Also with no batch to compute: processes that have some wait for all.
    loader = _loader(opened)
    _share_texts(opened, counters)
    key, counter = next(iter(counters.items()))
    before = {name: finished[key][name] for name in seen[key]} if is_main_process() else {}
    progress = ProgressHook(opened.title, opened.leaf_of(key).name, counter, before, len(opened.names))
    settings = opened.leaves[0].config
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=opened.model,
            work_dir=folder,
            test_dataloader=loader,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=Evaluator(list(counters.values())),
            default_hooks=settings.default_hooks,
            default_scope='mmseg',
            launcher='pytorch' if get_world_size() > 1 else 'none',
            env_cfg=settings.env_cfg,
            log_level='WARNING',
            cfg=Config(dict(default_scope='mmseg')),
            # Runners of one name, by default the second they begin in, would share things in a folder that is gone.
            experiment_name=uuid.uuid4().hex,
        )
        for hook in (*files, progress):
            runner.register_hook(hook)
        try:
            runner.test()
        finally:
            progress.close()
            # mmengine's current logger outlives the run: its next warning would be written to a folder that is gone.
            for handler in [of for of in runner.logger.handlers if isinstance(of, logging.FileHandler)]:
                runner.logger.removeHandler(handler)
                handler.close()


def _loader(opened: OpenPass) -> DataLoader:
    settings = opened.leaves[0].config.test_dataloader
    # mmengine's own sampler type is asked for its dataset only.
    sampler = FixedBatches(type('Whole', (), dict(dataset=opened.data))(), settings.batch_size)
    sampler.leave_out(frozenset.intersection(*opened.model.finished.values()))
    read = {name: value for name, value in settings.items() if name not in OWN_LOADING}
    read.setdefault('pin_memory', torch.cuda.is_available())
    return DataLoader(opened.data, batch_sampler=sampler, collate_fn=packed, **read)


def _share_texts(opened: OpenPass, keys: Iterable[str]) -> None:
    """Encode class names, in the first process alone: another kind of processor would round otherwise."""
    with telling(f'{opened.title}: class names'), STOPWATCH.stage('text', opened.device):
        members = [opened.member_of(key) for key in keys]
        if is_main_process():
            texts = [text_of(member.backbone, member.vocabulary) for member in members]
        if get_world_size() > 1:
            parts = [[part.cpu() for part in text] for text in texts] if is_main_process() else None
            for member, text in zip(members, _from_main(parts), strict=True):
                member.backbone.texts[member.vocabulary] = Text(*(part.to(opened.device) for part in text))


def read_results(opened: OpenPass, store: Store) -> dict[Leaf, Result]:
    """Read the leaves of a pass; none of them in processes that are not the first.

    Raises:
        BenchError: a file of the store is damaged, or another process has put other images of the same names.
    """
    if not is_main_process():
        return {}
    entries: dict[str, Entry] = {}
    results = {}
    for place, (leaf, key) in enumerate(zip(opened.leaves, opened.keys, strict=True)):
        if key not in entries:
            entries[key] = store.get(key)
            if entries[key] is None or len(opened.fitting(key, entries[key].images)) < len(opened.names):
                raise BenchError(
                    f'{store.path(key)} was changed meanwhile, by a run on other files of the same names or by hand; '
                    'give runs on other files another store, and run this again'
                )
        record = result_record(
            leaf,
            opened.members[place],
            opened.dataset(leaf),
            opened.deviation(leaf),
            opened.selection,
            opened.names,
            entries[key],
        )
        cells = {name: entries[key].images[name].cells for name in opened.names}
        results[leaf] = Result(record, cells, opened.computed.get(key, 0))
    return results


def _wait_for(opened: OpenPass, store: Store, files: Sequence[ImageFiles], fresh: bool) -> None:
    """Until all of a pass is in the store; what another process gave back unfinished is computed here."""
    if is_main_process():
        say(f'waiting for another process, which computes {opened.title}')
    while not _run_pass(opened, store, files, fresh):
        time.sleep(PATIENCE)
