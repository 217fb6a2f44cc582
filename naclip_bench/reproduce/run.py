"""Plans to results: each pass once through mmengine's test loop, each leaf into the store as it is finished."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmseg.registry import METRICS
from torch.utils.data import DataLoader

from ..datasets.check import select
from ..datasets.sampler import FixedBatches
from ..datasets.shared import SharedPictures
from ..errors import BenchError
from ..evaluation.metric import ConfusionMetric
from ..evaluation.progress import ProgressHook
from ..evaluation.record import fingerprint, identity, result_record
from ..evaluation.run import check_classes, check_settings, class_scores
from ..methods.shared import SharedTrunk
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


class LeafCollector:
    """Mixed into a leaf's metric: it collects; the store scores when all pictures are there."""

    def evaluate(self, size: int) -> dict[str, float]:
        return {}


class OpenPass:
    """A pass with its data and model built: what it computes has keys now.

    Args:
        pass_: leaves that share pictures, sizes and weights.
        options: which pictures.

    Attributes:
        names: of the pictures, in order.
        keys: of each leaf: the hash of everything that decides its numbers.
    """

    def __init__(self, pass_: Pass, options: Options) -> None:
        self.leaves, self.title, self.options = pass_.leaves, pass_.title, options
        for leaf in self.leaves:
            check_settings(leaf.config.model)
        by_key = {leaf.dataset_key: leaf.config.test_dataloader.dataset for leaf in self.leaves}
        self.datasets = SharedPictures(by_key)
        for leaf in self.leaves:
            check_classes(leaf.config, self.dataset(leaf).metainfo['classes'])
        chosen = select(self.datasets.names, options.limit, options.subset, self.datasets.first.img_suffix)
        self.datasets.indices = chosen
        self.names = [self.datasets.names[index] for index in chosen]
        members = {f'leaf{index}': _member(leaf) for index, leaf in enumerate(self.leaves)}
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.model = SharedTrunk(members, self.leaves[0].config.model.backbone).eval().to(device)
        self.parts = [
            identity(leaf.config, member, self.names)
            for leaf, member in zip(self.leaves, self.model.members.values(), strict=True)
        ]
        self.keys = [fingerprint(parts) for parts in self.parts]

    def dataset(self, leaf: Leaf) -> object:
        return self.datasets.datasets[leaf.dataset_key]

    def compute(self, store: Store, wanted: set[str], share: Share = WHOLE) -> float:
        """Compute what is missing of the leaves with the keys ``wanted``, into their journals; the seconds it took."""
        metrics = {}
        for index, (leaf, key) in enumerate(zip(self.leaves, self.keys, strict=True)):
            if key in wanted and key not in {metric.journal.fingerprint for metric in metrics.values()}:
                metrics[f'leaf{index}'] = self._metric(index, leaf, key, store)
        place = {name: index for index, name in enumerate(self.names)}
        everything = frozenset(place.values())
        self.model.finished = {
            name: frozenset(place[done] for done in metrics[name].pictures) if name in metrics else everything
            for name in self.model.members
        }
        loader = self._loader(share)
        loader.batch_sampler.leave_out(frozenset.intersection(*self.model.finished.values()))
        if not len(loader.batch_sampler):
            return 0.0
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(
                model=self.model,
                work_dir=folder,
                test_dataloader=loader,
                test_cfg=dict(type='TestLoop'),
                test_evaluator=Evaluator(list(metrics.values())),
                default_hooks=self.leaves[0].config.default_hooks,
                default_scope='mmseg',
                log_level='WARNING',
                cfg=Config(dict(default_scope='mmseg')),
            )
            progress = ProgressHook(self.title)
            runner.register_hook(progress)
            try:
                runner.test()
            finally:
                progress.close()
        return time.perf_counter() - begin

    def _metric(self, index: int, leaf: Leaf, key: str, store: Store) -> ConfusionMetric:
        dataset = self.dataset(leaf)
        kind = METRICS.get(leaf.config.test_evaluator.type)
        settings = {name: value for name, value in leaf.config.test_evaluator.items() if name != 'type'}
        metric = type(kind.__name__, (LeafCollector, kind), {})(**settings)
        metric.leaf, metric.ignore_index = (f'leaf{index}', leaf.dataset_key), dataset.ignore_index
        metric.class_names, metric.names = tuple(dataset.metainfo['classes']), self.names
        metric.journal = store.journal(key, self.parts[index], len(metric.class_names))
        metric.pictures.update(metric.journal.read())
        return metric

    def _loader(self, share: Share) -> DataLoader:
        settings = self.leaves[0].config.test_dataloader
        # mmengine's own sampler type is asked for its data set only.
        sampler = FixedBatches(type('Whole', (), dict(dataset=self.datasets))(), settings.batch_size)
        sampler.rank, sampler.processes = share.index, share.count
        return DataLoader(
            self.datasets,
            batch_sampler=sampler,
            num_workers=settings.num_workers,
            collate_fn=pseudo_collate,
            pin_memory=torch.cuda.is_available(),
        )

    def seal(self, store: Store, wanted: set[str], seconds: float) -> None:
        """Put the leaves with the keys ``wanted`` that have all their pictures into the store."""
        for index, (leaf, key) in enumerate(zip(self.leaves, self.keys, strict=True)):
            if key not in wanted or store.get(key) is not None:
                continue
            metric = self._metric(index, leaf, key, store)
            missing = [name for name in self.names if name not in metric.pictures]
            if missing:
                raise BenchError(f'{leaf.name}: {len(missing)} pictures were not computed, the first {missing[0]}')
            selection = {
                'official': leaf.config.pictures,
                'limit': self.options.limit,
                'subset': self.options.subset,
            }
            times = {
                'wall': seconds,
                'pictures': len(self.names),
                'leaves': len(wanted),
                'stages': STOPWATCH.seconds(),
            }
            member = self.model.members[f'leaf{index}']
            record = result_record(
                leaf.config,
                member,
                self.names,
                self.parts[index],
                class_scores(metric),
                times,
                selection,
                {name: str(value) for name, value in leaf.overrides.items()},
            )
            store.put(key, Result(record, metric.pictures))


def _member(leaf: Leaf) -> dict:
    """The config of a method without its backbone, which all members of a pass share."""
    return {key: value for key, value in leaf.config.model.to_dict().items() if key != 'backbone'}


Compute = Callable[[OpenPass, Store, set[str]], float]


def in_this_process(open_pass: OpenPass, store: Store, wanted: set[str]) -> float:
    return open_pass.compute(store, wanted)


def run_plan(plan: Plan, options: Options, store: Store, compute: Compute = in_this_process) -> dict[Leaf, Result]:
    """Results of all leaves; only those that the store lacks are computed.

    Args:
        compute: how a pass is computed: in this process, or spread over others.

    Raises:
        BenchError: what the user can mend; what is finished stays in the store.
    """
    results: dict[Leaf, Result] = {}
    waiting = list(plan.passes)
    while waiting:
        blocked = []
        for pass_ in waiting:
            open_pass = OpenPass(pass_, options)
            missing = {key for key in open_pass.keys if store.get(key) is None}
            claimed = {key for key in missing if store.claim(key)}
            try:
                # Another process may have finished a leaf between the look and the claim.
                todo = {key for key in claimed if store.get(key) is None}
                if todo:
                    STOPWATCH.reset()
                    seconds = compute(open_pass, store, todo)
                    open_pass.seal(store, todo, seconds)
            finally:
                for key in claimed:
                    store.release(key)
            if missing - claimed:
                blocked.append(pass_)
            else:
                for leaf, key in zip(open_pass.leaves, open_pass.keys, strict=True):
                    results[leaf] = store.get(key)
        if blocked:
            time.sleep(PATIENCE)
        waiting = blocked
    return results
