"""Plans to results: each pass once through mmengine's test loop, each leaf into the store as it is finished."""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmseg.registry import METRICS
from torch.utils.data import DataLoader

from ..datasets.check import select
from ..datasets.same_images import SameImages
from ..datasets.sampler import FixedBatches
from ..datasets.splits import Deviation
from ..errors import BenchError
from ..evaluation.journal import Journal
from ..evaluation.metric import ConfusionMetric
from ..evaluation.progress import ProgressHook
from ..evaluation.record import fingerprint, identity, result_record
from ..evaluation.run import check_classes, check_settings, class_scores
from ..methods.side_by_side import SideBySide
from ..timing import STOPWATCH
from .plan import Leaf, Options, Pass, Plan
from .store import Result, Store

#: Seconds between two looks at leaves that another process computes.
PATIENCE = 2.0


@dataclass(frozen=True)
class Share:
    """Which batches of a pass a process computes: every ``count``-th, from ``index``."""

    index: int = 0
    count: int = 1


WHOLE = Share()

#: Of each leaf to compute, by its key, the cells of the images that are finished.
Finished = dict[str, dict[str, np.ndarray]]


class Journals(Protocol):
    """Where computed images go: a :class:`Store`, or a way to the process that has one."""

    def journal(self, key: str, identity: dict, classes: int) -> Journal: ...


class LeafCollector:
    """Mixed into a leaf's metric: it collects; the store scores when all images are there."""

    def evaluate(self, size: int) -> dict[str, float]:
        return {}


class OpenPass:
    """A pass with its data and model built: what it computes has keys now.

    Args:
        pass_: leaves that share images, sizes and weights.
        options: which images.

    Attributes:
        names: of the images, in order.
        parts: of each leaf: everything that decides its numbers, by name; see :func:`identity`.
        keys: of each leaf: the hash of that.
        places: place of the first leaf that has each key.

    Raises:
        BenchError: settings, data, class names or weights that are not there or do not fit.
    """

    def __init__(self, pass_: Pass, options: Options) -> None:
        self.leaves, self.title, self.options = pass_.leaves, pass_.title, options
        for leaf in self.leaves:
            check_settings(leaf.config.model)
        by_key = {leaf.dataset_key: leaf.config.test_dataloader.dataset for leaf in self.leaves}
        self.datasets = SameImages(by_key)
        for leaf in self.leaves:
            check_classes(leaf.config, self.dataset(leaf).metainfo['classes'])
        chosen = select(self.datasets.names, options.limit, options.subset, self.datasets.first.img_suffix)
        self.datasets.indices = chosen
        self.names = [self.datasets.names[index] for index in chosen]
        members = {f'leaf{index}': _member(leaf) for index, leaf in enumerate(self.leaves)}
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.model = SideBySide(members, self.leaves[0].config.model.backbone).eval().to(device)
        self.parts = [
            identity(leaf.config, member, self.names)
            for leaf, member in zip(self.leaves, self.model.members.values(), strict=True)
        ]
        self.keys = [fingerprint(parts) for parts in self.parts]
        self.places = {key: place for place, key in reversed([*enumerate(self.keys)])}

    def dataset(self, leaf: Leaf) -> object:
        return self.datasets.datasets[leaf.dataset_key]

    def finished(self, store: Store, wanted: Iterable[str]) -> Finished:
        """What earlier processes finished of the leaves with the keys ``wanted``."""
        return {key: self.journal(store, key).read() for key in wanted}

    def open_batches(self, finished: Finished) -> int:
        """How many batches hold an image that a leaf lacks."""
        return len(self._loader(WHOLE, self._seen(finished).values()).batch_sampler)

    def compute(self, journals: Journals, finished: Finished, share: Share = WHOLE) -> None:
        """Compute this process's share of what is missing, into journals.

        All processes of a pass are given the same ``finished``: it decides who computes what.
        """
        self.model.finished = self._seen(finished)
        loader = self._loader(share, self.model.finished.values())
        if not len(loader.batch_sampler):
            return
        metrics = [self.metric(journals, key, finished[key]) for key in finished]
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(
                model=self.model,
                work_dir=folder,
                test_dataloader=loader,
                test_cfg=dict(type='TestLoop'),
                test_evaluator=Evaluator(metrics),
                default_hooks=self.leaves[0].config.default_hooks,
                default_scope='mmseg',
                log_level='WARNING',
                cfg=Config(dict(default_scope='mmseg')),
                # Runners of one name, by default the second they begin in, would share things in a folder that is gone.
                experiment_name=uuid.uuid4().hex,
            )
            progress = ProgressHook(self.title)
            if share.index == 0:
                runner.register_hook(progress)
            try:
                runner.test()
            finally:
                progress.close()

    def _seen(self, finished: Finished) -> dict[str, frozenset[int]]:
        """Indices of the images that each member need not see; those of a leaf not to be computed are all."""
        everything = frozenset(range(len(self.names)))
        seen = {name: everything for name in self.model.members}
        for key, images in finished.items():
            seen[f'leaf{self.places[key]}'] = frozenset(
                index for index, name in enumerate(self.names) if name in images
            )
        return seen

    def metric(self, journals: Journals, key: str, images: dict[str, np.ndarray]) -> ConfusionMetric:
        """Of the leaf with this key, which has finished ``images``."""
        place = self.places[key]
        leaf = self.leaves[place]
        dataset = self.dataset(leaf)
        kind = METRICS.get(leaf.config.test_evaluator.type)
        settings = {name: value for name, value in leaf.config.test_evaluator.items() if name != 'type'}
        metric = type(kind.__name__, (LeafCollector, kind), {})(**settings)
        metric.leaf, metric.ignore_index = (f'leaf{place}', leaf.dataset_key), dataset.ignore_index
        metric.class_names, metric.names = tuple(dataset.metainfo['classes']), self.names
        metric.journal = self.journal(journals, key)
        metric.images.update(images)
        return metric

    def journal(self, journals: Journals, key: str) -> Journal:
        place = self.places[key]
        return journals.journal(key, self.parts[place], len(self.dataset(self.leaves[place]).metainfo['classes']))

    def _loader(self, share: Share, seen: Iterable[frozenset[int]]) -> DataLoader:
        settings = self.leaves[0].config.test_dataloader
        # mmengine's own sampler type is asked for its dataset only.
        sampler = FixedBatches(type('Whole', (), dict(dataset=self.datasets))(), settings.batch_size)
        sampler.rank, sampler.processes = share.index, share.count
        sampler.leave_out(frozenset.intersection(*seen))
        return DataLoader(
            self.datasets,
            batch_sampler=sampler,
            num_workers=settings.num_workers,
            collate_fn=pseudo_collate,
            pin_memory=torch.cuda.is_available(),
        )

    def seal(self, store: Store, wanted: set[str], seconds: float, processes: int) -> None:
        """Put the leaves with the keys ``wanted``, computed in so many seconds and processes, into the store.

        Raises:
            BenchError: an image was not computed.
        """
        for key, images in self.finished(store, wanted).items():
            place = self.places[key]
            leaf, metric = self.leaves[place], self.metric(store, key, images)
            missing = [name for name in self.names if name not in images]
            if missing:
                raise BenchError(f'{leaf.name}: {len(missing)} images were not computed, the first {missing[0]}')
            split = leaf.config.get('split')
            deviation = Deviation.of(self.datasets.names, split) if split else None
            selection = {
                'official': leaf.config.get('images', len(self.datasets.names)),
                'official_list': None if deviation is None else deviation.record(),
                'limit': self.options.limit,
                'subset': self.options.subset,
            }
            times = {
                'wall': seconds,
                'images': len(self.names),
                'leaves': len(wanted),
                'stages': STOPWATCH.seconds(),
            }
            record = result_record(
                leaf.config,
                self.model.members[f'leaf{place}'],
                self.names,
                self.parts[place],
                class_scores(metric),
                times,
                selection,
                {name: str(value) for name, value in leaf.overrides.items()},
            )
            # None is at work where all was finished before, and only had to be sealed.
            record['device']['processes'] = max(processes, 1)
            store.put(key, Result(record, images))


def _member(leaf: Leaf) -> dict:
    """The config of a method without its backbone, which all members of a pass share."""
    return {key: value for key, value in leaf.config.model.to_dict().items() if key != 'backbone'}


#: Computes the leaves of a pass that have the keys given, into journals of the store; tells in how many processes.
Compute = Callable[[OpenPass, Store, set[str]], int]


def in_this_process(open_pass: OpenPass, store: Store, wanted: set[str]) -> int:
    open_pass.compute(store, open_pass.finished(store, wanted))
    return 1


def run_pass(open_pass: OpenPass, keys: Iterable[str], store: Store, compute: Compute = in_this_process) -> None:
    """Compute the leaves of a pass with these ``keys`` that the store lacks and no other process is computing.

    Raises:
        BenchError: what the user can mend; what is finished stays in the store.
    """
    with store.claimed(keys) as claimed:
        if claimed:
            STOPWATCH.reset()
            begin = time.perf_counter()
            processes = compute(open_pass, store, claimed)
            open_pass.seal(store, claimed, time.perf_counter() - begin, processes)


def run_plan(plan: Plan, options: Options, store: Store, compute: Compute = in_this_process) -> dict[Leaf, Result]:
    """Results of all leaves; only those that the store lacks are computed.

    Args:
        compute: how a pass is computed: in this process, or spread over others; see :mod:`.spread`.

    Raises:
        BenchError: what the user can mend; what is finished stays in the store.
    """
    keys = []
    for pass_ in plan.passes:
        open_pass = OpenPass(pass_, options)
        keys.append(open_pass.keys)
        run_pass(open_pass, keys[-1], store, compute)
    results: dict[Leaf, Result] = {}
    for pass_, of_pass in zip(plan.passes, keys, strict=True):
        _wait_for_others(pass_, of_pass, options, store, compute)
        results |= {leaf: store.get(key) for leaf, key in zip(pass_.leaves, of_pass, strict=True)}
    return results


def _wait_for_others(pass_: Pass, keys: list[str], options: Options, store: Store, compute: Compute) -> None:
    """Until all of a pass is in the store; what another process gave back unfinished is computed here."""
    told = False
    while missing := [key for key in dict.fromkeys(keys) if store.get(key) is None]:
        with store.claimed(missing) as given_back:
            pass
        if given_back:
            run_pass(OpenPass(pass_, options), missing, store, compute)
            continue
        if not told:
            print(f'waiting for another process, which computes {pass_.title}', file=sys.stderr)
            told = True
        time.sleep(PATIENCE)
