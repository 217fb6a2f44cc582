"""A whole data set checked: its list, its files, and over all cores what they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from rich.console import Console
from rich.progress import track

from ..datasets.check import Finding, check_labels_of, file_findings, file_paths, open_dataset, picture_names
from ..datasets.official import Deviation, official_list, some, split_names
from ..errors import BenchError
from .contents import Contents
from .examine import Examined, Pair, examine
from .signs import SWAPPED, kind_of, sign_findings

#: Fewer pairs than this are examined before other processes would have started.
FEW = 64


@dataclass
class Report:
    """What the check of a data set came to.

    Attributes:
        key: of the data set.
        findings: at least one a check, also where nothing is wrong.
        classes: names, in the order of ``contents.scored``.
        contents: None after a quick check, and where there was nothing to look into.
    """

    key: str
    findings: list[Finding]
    classes: Sequence[str] = ()
    contents: Contents | None = None

    @property
    def sound(self) -> bool:
        return not any(finding.problem for finding in self.findings)


def verify(config: Config, quick: bool = False, processes: int | None = None) -> Report:
    """Check the data set of a config.

    Args:
        config: any with a ``test_dataloader``; its ``split`` names the official list.
        quick: only whether list and files are there.
        processes: None is one a core.

    Raises:
        BenchError: a label is a class and not scored, or a process was killed. The data's faults are in the report.
    """
    settings, split = config.test_dataloader.dataset, config.get('split')
    try:
        dataset = open_dataset(settings)
    except BenchError as error:
        return Report(config.dataset, [Finding('folders and list', str(error), 'tools/prepare_data.py makes them')])
    check_labels_of(dataset)
    names = picture_names(dataset)
    report = Report(config.dataset, [Finding('folders and list')], dataset.metainfo['classes'])
    deviation = None if split is None else Deviation.of(names, split)
    if deviation is not None:
        report.findings.append(_official(deviation, names))
    report.findings += file_findings(dataset, settings)
    if not dataset.ann_file:
        report.findings.append(_lone_masks(dataset))
    if quick:
        return report

    first = 1 if dataset.reduce_zero_label else 0
    report.contents = Contents(range(first, first + len(report.classes)), dataset.ignore_index)
    columns = ([_if_there(path) for path in file_paths(dataset, key)] for key in ('img_path', 'seg_map_path'))
    pairs = dict(sorted(zip(names, map(Pair, *columns), strict=True)))
    examined = _examine_all(list(pairs.values()), processes or _cores())
    screen = Console(stderr=True)
    watched = track(examined, report.key, len(pairs), console=screen, transient=True, disable=not screen.is_terminal)
    for name, found in zip(pairs, watched, strict=True):
        report.contents.add(name, found)
    report.findings += report.contents.findings()
    complete = deviation is not None and not deviation.missing
    report.findings += sign_findings(kind_of(split, report.contents.scored[-1]), report.contents.shown(complete))
    return report


def _official(deviation: Deviation, names: Sequence[str]) -> Finding:
    """Are the pictures those of the official list, or of another data set's?"""
    if not deviation:
        return Finding('official list')
    found = {Path(name).name for name in names}
    hits = {split: len(found.intersection(official_list(split))) for split in split_names()}
    own, likely = deviation.split, max(hits, key=hits.get)
    if hits[likely] > hits[own]:
        problem = f'{hits[likely]:,} of {len(found):,} pictures are of the list "{likely}", {hits[own]:,} of "{own}"'
        return Finding('official list', problem, SWAPPED)
    mend = 'unpack what is missing again, take out what is extra; a part can be run, and its result says that it is one'
    return Finding('official list', str(deviation), mend)


def _lone_masks(dataset: BaseDataset) -> Finding:
    """Where a folder is the list, a mask alone tells that a picture was lost."""
    folder, known = Path(dataset.data_prefix['seg_map_path']), set(file_paths(dataset, 'seg_map_path'))
    lone = sorted(path.name for path in folder.rglob(f'*{dataset.seg_map_suffix}') if path not in known)
    problem = f'masks without their picture: {some(lone)}' if lone else ''
    return Finding('no mask alone', problem, f'put their pictures into {dataset.data_prefix["img_path"]}')


def _if_there(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _examine_all(pairs: Sequence[Pair], processes: int) -> Iterator[Examined]:
    """In the order of ``pairs``; memory does not grow with their number."""
    if processes == 1 or len(pairs) < FEW:
        yield from map(examine, pairs)
        return
    # Forked processes would share the locks of torch's threads; new ones import neither torch nor mmseg.
    context = get_context('spawn')
    with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            yield from pool.map(examine, pairs, chunksize=16)
        except BrokenProcessPool:
            raise BenchError('a checking process was killed; is there memory enough for the largest picture?') from None
