"""What is looked into before a run: a few masks, and whether images were lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset

from ..datasets.check import check_labels_of, file_findings, is_drawn, open_dataset
from ..datasets.finding import Finding
from ..datasets.splits import hits_of, some
from ..errors import BenchError
from .contents import Contents
from .examine import Pair, examine
from .signs import kind_of, void_finding

#: Masks that are looked into, spread over the dataset; few enough that nobody waits.
FEW = 20

#: Checks that a few masks answer; files that are damaged are told when their turn comes, and what is finished stays.
CHEAP = ('lossless', 'order of the palette')


def build_dataset(config: ConfigDict) -> BaseDataset:
    """The dataset of a config, every file of it seen to exist.

    Raises:
        BenchError: a folder, the list, an image or a mask is missing; says the expected layout.
    """
    dataset = open_dataset(config)
    check_labels_of(dataset)
    if not is_drawn(config):
        for finding in file_findings(dataset, config):
            _raise(finding)
        for finding in cheap_findings(dataset):
            _raise(finding)
    return dataset


def _raise(finding: Finding) -> None:
    if finding.problem:
        raise BenchError(f'data: {finding.problem}; {finding.mend}')


def cheap_findings(dataset: BaseDataset) -> list[Finding]:
    """The checks of :func:`check_dataset` that take no time, on a dataset whose files are all there."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    contents = Contents.of(dataset)
    for info in islice(infos, 0, None, max(1, -(-len(infos) // FEW))):
        contents.add(Path(info['seg_map_path']).name, examine(Pair(None, info['seg_map_path'])))
    findings = [finding for finding in contents.findings() if finding.check in CHEAP]
    hits = hits_of(Path(info['img_path']).name.removesuffix(dataset.img_suffix) for info in infos)
    likely = max(hits, key=hits.get)
    if 2 * hits[likely] >= len(infos):
        # The official images, whose number is compared with the list's.
        own = kind_of(likely, contents.known[-1])
        return [*findings, void_finding(own, contents.shown(False))] if own and len(infos) >= FEW else findings
    if not dataset.ann_file:
        findings.append(lone_masks(dataset, (info['seg_map_path'] for info in infos)))
    return findings


def lone_masks(dataset: BaseDataset, known: Iterable[str]) -> Finding:
    """Where a folder is the list, a mask alone tells that an image was lost, or has another suffix.

    Args:
        known: paths of the masks that have an image.
    """
    known, suffix = {Path(path) for path in known}, dataset.seg_map_suffix
    images, masks = (Path(dataset.data_prefix[key]) for key in ('img_path', 'seg_map_path'))
    lone = sorted(path.relative_to(masks).as_posix() for path in masks.rglob(f'*{suffix}') if path not in known)
    mend = f'put their images into {images}, or name the images to score in a list (ann_file)'
    if lone:
        stems = {name.removesuffix(suffix) for name in lone}
        others = (path.relative_to(images) for path in images.rglob('*') if path not in known)
        found = sorted({path.suffix for path in others if path.with_suffix('').as_posix() in stems})
        if found:
            mend = f'images end in {dataset.img_suffix} (img_suffix); rename those that end in {", ".join(found)}'
    problem = f'masks without their image: {some(lone)}' if lone else ''
    return Finding('no mask alone', problem, mend)
