"""A whole dataset checked: its list, its files, and over all cores what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset

from ...datasets.check import (
    Finding,
    check_labels_of,
    file_findings,
    file_paths,
    image_names,
    is_drawn,
    open_dataset,
)
from ...datasets.splits import Deviation, official_list, some, split_names
from ...errors import BenchError
from ...parallel import over_cores
from .contents import Contents
from .examine import Pair, examine
from .signs import SWAPPED, kind_of, sign_findings


@dataclass
class Report:
    """What the check of a dataset came to.

    Attributes:
        key: of the dataset.
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


def verify(config: Config, quick: bool = False) -> Report:
    """Check the dataset of a config.

    Args:
        config: any with a ``test_dataloader``; its ``split`` names the official list.
        quick: only whether list and files are there.

    Raises:
        BenchError: a label is a class and not scored, or a process was killed. The data's faults are in the report.
    """
    settings, split = config.test_dataloader.dataset, config.get('split')
    try:
        dataset = open_dataset(settings)
    except BenchError as error:
        return Report(config.dataset, [Finding('folders and list', str(error), 'tools/prepare_data.py makes them')])
    check_labels_of(dataset)
    if is_drawn(settings):
        return Report(config.dataset, [Finding('drawn by code, no files')], dataset.metainfo['classes'])
    names = image_names(dataset)
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
    # New processes, which import neither torch nor mmseg.
    examined = over_cores(examine, list(pairs.values()), report.key, fork=False)
    for name, found in zip(pairs, examined, strict=True):
        report.contents.add(name, found)
    report.findings += report.contents.findings()
    complete = deviation is not None and not deviation.missing
    report.findings += sign_findings(kind_of(split, report.contents.scored[-1]), report.contents.shown(complete))
    return report


def _official(deviation: Deviation, names: Sequence[str]) -> Finding:
    """Are the images those of the official list, or of another dataset's?"""
    if not deviation:
        return Finding('official list')
    found = {Path(name).name for name in names}
    hits = {split: len(found.intersection(official_list(split))) for split in split_names()}
    own, likely = deviation.split, max(hits, key=hits.get)
    if hits[likely] > hits[own]:
        problem = f'{hits[likely]:,} of {len(found):,} images are of the list "{likely}", {hits[own]:,} of "{own}"'
        return Finding('official list', problem, SWAPPED)
    mend = 'unpack what is missing again, take out what is extra; a part can be run, and its result says that it is one'
    return Finding('official list', str(deviation), mend)


def _lone_masks(dataset: BaseDataset) -> Finding:
    """Where a folder is the list, a mask alone tells that an image was lost."""
    folder, known = Path(dataset.data_prefix['seg_map_path']), set(file_paths(dataset, 'seg_map_path'))
    lone = sorted(path.name for path in folder.rglob(f'*{dataset.seg_map_suffix}') if path not in known)
    problem = f'masks without their image: {some(lone)}' if lone else ''
    return Finding('no mask alone', problem, f'put their images into {dataset.data_prefix["img_path"]}')


def _if_there(path: Path) -> str | None:
    return str(path) if path.is_file() else None
