"""A whole dataset checked: its list, its files, and over all cores what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..datasets.check import check_labels_of, file_findings, file_paths, image_names, is_drawn, open_dataset
from ..datasets.finding import Finding
from ..datasets.loading import stored_classes
from ..datasets.splits import Deviation, hits_of
from ..errors import BenchError
from ..parallel import over_cores
from .contents import Contents
from .examine import Pair, examine
from .order import order_findings
from .signs import SWAPPED, kind_of, sign_findings
from .start import lone_masks


@dataclass
class CheckedDataset:
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


def check_dataset(config: Config, quick: bool = False) -> CheckedDataset:
    """Check the dataset of a config.

    Args:
        config: any with a ``test_dataloader``; its ``split`` names the official list.
        quick: only whether list and files are there.

    Raises:
        BenchError: a process was killed. The data's faults are in the report.
    """
    settings, split = config.test_dataloader.dataset, config.get('split')
    try:
        dataset = open_dataset(settings)
    except BenchError as error:
        return CheckedDataset(
            config.dataset, [Finding('folders and list', str(error), 'naclip-bench data prepare makes them')]
        )
    try:
        check_labels_of(dataset)
    except BenchError as error:
        return CheckedDataset(config.dataset, [Finding('settings', str(error), 'see docs/adding_a_dataset.md')])
    if is_drawn(settings):
        return CheckedDataset(config.dataset, [Finding('drawn by code, no files')], dataset.metainfo['classes'])
    names = image_names(dataset)
    report = CheckedDataset(config.dataset, [Finding('folders and list')], dataset.metainfo['classes'])
    deviation = None if split is None else Deviation.of(names, split)
    if deviation is not None:
        report.findings.append(_official(deviation, names))
    report.findings += file_findings(dataset, settings)
    if not dataset.ann_file:
        report.findings.append(lone_masks(dataset, file_paths(dataset, 'seg_map_path')))
    if quick:
        return report

    contents = report.contents = Contents.of(dataset)
    columns = ([_if_there(path) for path in file_paths(dataset, key)] for key in ('img_path', 'seg_map_path'))
    pairs = dict(sorted(zip(names, map(Pair, *columns), strict=True)))
    # New processes, which import neither torch nor mmseg.
    examined = over_cores(examine, list(pairs.values()), report.key, fork=False)
    for name, found in zip(pairs, examined, strict=True):
        contents.add(name, found)
    report.findings += contents.findings()
    complete = deviation is not None and not deviation.missing
    report.findings += sign_findings(kind_of(split, contents.known[-1]), contents.shown(complete))
    report.findings += order_findings(split, stored_classes(dataset), contents.images[contents.known], contents.masks)
    return report


def _official(deviation: Deviation, names: Sequence[str]) -> Finding:
    """Are the images those of the official list, or of another dataset's?"""
    if not deviation:
        return Finding('official list')
    hits = hits_of(names)
    own, likely = deviation.split, max(hits, key=hits.get)
    if hits[likely] > hits[own]:
        problem = f'{hits[likely]:,} of {len(names):,} images are of the list "{likely}", {hits[own]:,} of "{own}"'
        return Finding('official list', problem, SWAPPED)
    mend = 'unpack what is missing again, take out what is extra; a part can be run, and its result says that it is one'
    return Finding('official list', str(deviation), mend)


def _if_there(path: Path) -> str | None:
    return str(path) if path.is_file() else None
