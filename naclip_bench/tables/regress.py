"""Expected values beside the configs, and whether a run still gives them.

A value is compared only with what was measured like it: the same images, weights, class names, prompts, precision and
kind of device. What differs is said, and is a failure by itself; on another kind of device nothing is compared.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.dist import is_main_process

from ..configuration import load_config, parse_settings
from ..datasets.check import list_hash
from ..errors import BenchError, bench_error_in, did_you_mean
from ..evaluation.leaf import Leaf, Selection
from ..evaluation.opened import OpenPass, Pass, passes_of
from ..evaluation.run import Result, run
from ..evaluation.store import Store
from ..json_files import write_json

#: Version of the file.
SCHEMA = 1

#: How far mIoU may move, in points, on one platform.
TOLERANCES = {'fp32': 0.01, 'bf16': 0.1, 'fp16': 0.1}

METRIC = 'mIoU'


@dataclass(frozen=True, eq=False)
class Expected:
    """A recorded value.

    Attributes:
        config: name of a config.
        overrides: settings changed in it, as ``--cfg-options`` takes them.
        dataset: the dataset's key.
        images: ``subset``, a list's file or name (null: all), ``count``, and the ``sha256`` of the list.
        weights: ``pretrained`` as asked for (null: as the config says), ``name``, and ``sha256``.
        class_names, prompts: hashes.
        precision: of the vision tower.
        device: kind of device, ``cpu`` or ``cuda``.
        metric, value, tolerance: in percent.
        evidence: ``date``, ``versions``, the ``device``'s name, and ``result``, the hash of every image's matrix.
    """

    config: str
    overrides: tuple[str, ...]
    dataset: str
    images: dict
    weights: dict
    class_names: str
    prompts: str
    precision: str
    device: str
    metric: str
    value: float
    tolerance: float
    evidence: dict

    @property
    def place(self) -> tuple:
        """Values with the same place take each other's."""
        asked = (self.images['subset'], self.weights['pretrained'], self.precision, self.device, self.metric)
        return (self.config, self.overrides, *map(str, asked))

    def differences(self, now: Expected) -> list[str]:
        """What a run stands on that is not what the value was recorded with."""
        pairs = {
            'weights': [(entry.weights['name'], entry.weights['sha256']) for entry in (self, now)],
            'images': [(f'{entry.images["count"]} images', entry.images['sha256']) for entry in (self, now)],
            'class names': [('', entry.class_names) for entry in (self, now)],
            'prompts': [('', entry.prompts) for entry in (self, now)],
        }
        return [
            f'{what} differ: recorded {" ".join([before, old[:8]]).strip()}, now {" ".join([after, new[:8]]).strip()}'
            for what, ((before, old), (after, new)) in pairs.items()
            if old != new
        ]


def read_expected(path: Path) -> list[Expected]:
    """The values of a file; none where it is not there.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text())
        if content['schema'] != SCHEMA:
            raise ValueError
        return [Expected(**{**entry, 'overrides': tuple(entry['overrides'])}) for entry in content['expected']]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        raise BenchError(f'{path} holds no expected values that can be read (schema {SCHEMA})') from None


def select_expected(expected: Sequence[Expected], words: Sequence[str] | None) -> list[Expected]:
    """Those whose config's name holds one of ``words``; None: all.

    Raises:
        BenchError: there is none, or a word that no name holds.
    """
    names = {entry.config for entry in expected}
    if not names:
        raise BenchError('there are no expected values; record some: naclip-bench regress --record CONFIG')
    for word in words or ():
        if not any(word.lower() in name.lower() for name in names):
            raise BenchError(f'no config with an expected value holds "{word}"{did_you_mean(word, names)}')
    return [entry for entry in expected if not words or any(word.lower() in entry.config.lower() for word in words)]


# ---- running


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be run: a config with settings, on a list of images.

    Attributes:
        subset: file of names, or the name of a bundled one; None: all images.
        recorded: what it should give; None: nothing is known.
    """

    config: str
    overrides: tuple[str, ...] = ()
    subset: str | None = None
    pretrained: str | None = None
    precision: str | None = None
    recorded: Expected | None = None

    @property
    def title(self) -> str:
        details = [*self.overrides, *([Path(self.subset).name] if self.subset else [])]
        return self.config + (f' ({", ".join(details)})' if details else '')

    def leaf(self, data_root: str | None) -> Leaf:
        changed = parse_settings(self.overrides)
        return Leaf(self.config, load_config(self.config, data_root, self.pretrained, self.precision, changed), changed)


#: What something asked gives: its value with all that it stands on, or why there is none.
Outcome = Expected | BenchError


def run_all(asked: Sequence[Asked], data_root: str | None, store: Store) -> list[Outcome]:
    """Run everything, in as few passes as the lists of images allow; what stands on other things is not run."""
    outcomes: dict[Asked, Outcome] = {}
    lists: dict[str | None, dict[Leaf, Asked]] = defaultdict(dict)
    for one in asked:
        try:
            lists[one.subset][one.leaf(data_root)] = one
        except BenchError as error:
            outcomes[one] = error
    for subset, leaves in lists.items():
        selection = Selection(subset=Path(subset) if subset else None)

        def failed(pass_: Pass, error: BenchError, leaves: dict[Leaf, Asked] = leaves) -> None:
            outcomes.update({leaves[leaf]: error for leaf in pass_.leaves})

        comparable = []
        for pass_ in passes_of(leaves):
            try:
                members = _comparable(OpenPass(pass_, selection), leaves, outcomes)
            except BenchError as error:
                failed(pass_, error)
            else:
                comparable += [Pass(members)] if members else []
        for leaf, result in run(comparable, selection, store, keep_going=True, skip=failed).items():
            outcomes[leaves[leaf]] = _with_value(outcomes[leaves[leaf]], result)
    return [outcomes[one] for one in asked]


def _comparable(opened: OpenPass, leaves: dict[Leaf, Asked], outcomes: dict[Asked, Outcome]) -> list[Leaf]:
    """The leaves that stand on what their values were recorded with; adds to ``outcomes``."""
    found = []
    for place, leaf in enumerate(opened.leaves):
        one = leaves[leaf]
        now = _stands_on(opened, place, one)
        if one.recorded is not None and (differing := one.recorded.differences(now)):
            outcomes[one] = BenchError('; '.join(differing))
        else:
            outcomes[one] = now
            found.append(leaf)
    return found


def _stands_on(opened: OpenPass, place: int, asked: Asked) -> Expected:
    """What would be recorded, but for the value and its evidence."""
    member = opened.members[place]
    backbone = member.backbone
    return Expected(
        asked.config,
        asked.overrides,
        opened.leaves[place].config.dataset,
        {'subset': asked.subset, 'count': len(opened.names), 'sha256': list_hash(opened.names)},
        {'pretrained': asked.pretrained, 'name': backbone.weights_name, 'sha256': backbone.weights_hash},
        member.vocabulary.sha256,
        member.vocabulary.prompts_sha256,
        backbone.precision,
        backbone.device.type,
        METRIC,
        math.nan,
        TOLERANCES[backbone.precision],
        {},
    )


def _with_value(now: Expected, result: Result) -> Expected:
    record = result.record
    cells = {name: cells.tolist() for name, cells in sorted(result.cells.items())}
    evidence = {
        'date': record['date'],
        'device': record['device']['name'],
        'result': hashlib.sha256(json.dumps(cells).encode()).hexdigest(),
        'versions': record['versions'],
    }
    value = record['metrics'][METRIC]
    return replace(now, value=math.nan if value is None else value, evidence=evidence)


@contextmanager
def store_for(folder: Path | None) -> Iterator[Store]:
    """Open the store asked for, or one for this run alone, which computes everything anew, text vectors too."""
    if folder is not None:
        yield Store(folder)
        return
    with (
        tempfile.TemporaryDirectory() as temporary,
        patch.dict(os.environ, NACLIP_BENCH_CACHE=str(Path(temporary) / 'cache')),
    ):
        yield Store(Path(temporary) / 'results', lasting=False)


# ---- comparing and recording


def fault_of(expected: Expected, outcome: Outcome) -> str | None:
    """What is wrong, in one line; None: nothing."""
    if isinstance(outcome, BenchError):
        return bench_error_in(outcome)
    if math.isnan(outcome.value):
        return f'{expected.metric} is NaN, expected {expected.value:.4f}'
    if abs(outcome.value - expected.value) > expected.tolerance:
        return f'{expected.metric} is {outcome.value:.4f}, expected {expected.value:.4f} +- {expected.tolerance}'
    return None


def regress(
    expected: Sequence[Expected], data_root: str | None, pretrained: str | None, store: Store
) -> Iterator[tuple[str, str]]:
    """Run and compare; for each value ``ok``, ``FAIL`` or ``skip``, and a line that says why.

    Nothing in processes that are not the first.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    asked = [
        Asked(
            entry.config,
            entry.overrides,
            entry.images['subset'],
            pretrained or entry.weights['pretrained'],
            entry.precision,
            entry,
        )
        for entry in expected
        if entry.device == device
    ]
    outcomes = dict(zip(asked, run_all(asked, data_root, store), strict=True))
    if not is_main_process():
        return
    for one, outcome in outcomes.items():
        wrong = fault_of(one.recorded, outcome)
        if wrong:
            yield 'FAIL', f'{one.title}: {wrong}'
        else:
            same = outcome.evidence['result'] == one.recorded.evidence['result']
            yield (
                'ok',
                f'{one.title}: {METRIC} {outcome.value:.4f}, '
                + ('every label as recorded' if same else f'{outcome.value - one.recorded.value:+.4f}'),
            )
    for entry in expected:
        if entry.device != device:
            yield 'skip', f'{entry.config}: recorded on {entry.device}, this is {device}'


def record(
    path: Path, asked: Sequence[Asked], data_root: str | None, store: Store
) -> list[tuple[Expected, Expected | None]]:
    """Run and write what comes out as expected; each new value, and the one that it takes the place of.

    Nothing in processes that are not the first.

    Raises:
        BenchError: something cannot be run, or is NaN; nothing is written.
    """
    before = {entry.place: entry for entry in read_expected(path)}
    outcomes = run_all(asked, data_root, store)
    if not is_main_process():
        return []
    for one, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, BenchError):
            raise outcome
        if math.isnan(outcome.value):
            raise BenchError(f'{one.title}: {METRIC} is NaN; there is nothing to expect')
    after = before | {entry.place: entry for entry in outcomes}
    entries = [asdict(after[place]) for place in sorted(after)]
    write_json(path, {'schema': SCHEMA, 'expected': entries})
    return [(entry, before.get(entry.place)) for entry in outcomes]
