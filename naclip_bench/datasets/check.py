"""Is the data there? Asked before anything slow begins."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..errors import BenchError, did_you_mean
from .loading import NOT_SCORED_16_BIT, LoadMask
from .prepared import how_to_get
from .splits import some
from .subset import read_subset


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        check: what was looked at.
        problem: what is wrong, where and how often; empty where nothing is.
        mend: what to do about it.
    """

    check: str
    problem: str = ''
    mend: str = ''


def build_dataset(config: ConfigDict) -> BaseDataset:
    """The dataset of a config, every file of it seen to exist.

    Raises:
        BenchError: a folder, the list, an image or a mask is missing; says the expected layout.
    """
    dataset = open_dataset(config)
    for finding in [] if is_drawn(config) else file_findings(dataset, config):
        if finding.problem:
            raise BenchError(f'data: {finding.problem}; {finding.mend}')
    check_labels_of(dataset)
    return dataset


def open_dataset(config: ConfigDict) -> BaseDataset:
    """The dataset of a config, its folders and its list seen to exist.

    Raises:
        BenchError: one of them does not, or there is no image; says the expected layout.
    """
    if config.type not in DATASETS:
        raise BenchError(f'unknown dataset "{config.type}"{did_you_mean(config.type, DATASETS.module_dict)}')
    if is_drawn(config):
        return DATASETS.build(config)
    root = Path(config.data_root)
    wanted = [root / folder for folder in config.data_prefix.values()]
    wanted += [root / config.ann_file] if config.get('ann_file') else []
    missing = [path for path in wanted if not path.exists()]
    if missing:
        raise BenchError(f'data: there is no {missing[0]}; expected: {layout(config)}; {how_to_get(config)}')
    # mmengine's serializing stumbles over a list of nothing.
    dataset = DATASETS.build(config, default_args=dict(serialize_data=False))
    if not len(dataset):
        raise BenchError(f'data: {root} holds no images; expected: {layout(config)}; {how_to_get(config)}')
    return dataset


def is_drawn(config: ConfigDict) -> bool:
    """The dataset draws its images and has no files."""
    return hasattr(DATASETS.get(config['type']), 'drawn')


def file_findings(dataset: BaseDataset, config: ConfigDict) -> list[Finding]:
    """Is every image and every mask there, and listed once?"""
    findings = []
    for key, what in (('img_path', 'image'), ('seg_map_path', 'mask')):
        paths = file_paths(dataset, key)
        lost = [path for path in paths if not path.is_file()]
        problem = f'{len(lost)} of {len(paths)} {what}s are missing, the first {lost[0]}' if lost else ''
        mend = f'expected: {layout(config)}; {how_to_get(config)}' if lost else ''
        findings.append(Finding(f'{what}s there', problem, mend))
    twice = [name for name, count in Counter(image_names(dataset)).items() if count > 1]
    problem = f'listed more than once: {some(twice)}' if twice else ''
    return [*findings, Finding('listed once', problem, f'take the repeated lines out of {dataset.ann_file}')]


def file_paths(dataset: BaseDataset, key: str) -> list[Path]:
    """Paths of all images (``img_path``) or masks (``seg_map_path``), in the dataset's order."""
    return [Path(dataset.get_data_info(index)[key]) for index in range(len(dataset))]


def check_labels_of(dataset: BaseDataset) -> None:
    """Have every mask that the dataset loads checked against its classes.

    Raises:
        BenchError: the label that is not scored is a class as well.
    """
    classes, first = len(dataset.metainfo['classes']), int(dataset.reduce_zero_label)
    if first <= dataset.ignore_index < first + classes:
        raise BenchError(
            f'data: label {dataset.ignore_index} is not scored, but with {classes} classes it is one of them; set '
            f'ignore_index={NOT_SCORED_16_BIT} in the dataset, and write its masks with 16 bits a pixel'
        )
    for transform in dataset.pipeline.transforms:
        if isinstance(transform, LoadMask):
            transform.num_classes, transform.ignore_index = classes, dataset.ignore_index


def layout(config: ConfigDict) -> str:
    """The files that a dataset consists of, in one line."""
    prefix, parts = config.data_prefix, []
    parts.append(f'{prefix["img_path"]}/*{config.get("img_suffix", ".jpg")}')
    parts.append(f'{prefix["seg_map_path"]}/*{config.get("seg_map_suffix", ".png")}')
    parts += [config.ann_file] if config.get('ann_file') else []
    return f'{config.data_root}/{{{", ".join(parts)}}}'


def image_names(dataset: BaseDataset) -> list[str]:
    """Each image's path below the image folder, without its suffix; unique in a dataset."""
    folder, suffix = dataset.data_prefix['img_path'], dataset.img_suffix
    paths = file_paths(dataset, 'img_path')
    return [path.relative_to(folder).as_posix().removesuffix(suffix) for path in paths]


def list_hash(names: Sequence[str]) -> str:
    return hashlib.sha256('\n'.join(names).encode()).hexdigest()


def select(names: Sequence[str], limit: int | None, subset: Path | None, suffix: str = '') -> list[int]:
    """Indices of the images to run, in the dataset's order.

    Args:
        names: all of the dataset.
        limit: at most so many, the first ones.
        subset: a file with one image name a line, or a bundled one's name; see :func:`read_subset`. Folders before
            an image's name and its suffix are of no account.
        suffix: of the dataset's images.

    Raises:
        BenchError: the file is not there, names no image, or one that is not in the dataset.
    """
    chosen = list(range(len(names)))
    if subset is not None:
        wanted = read_subset(subset)
        place = {Path(name).name: index for index, name in enumerate(names)}
        if len(place) < len(names):
            place = {}  # the same name in two folders: only whole paths tell them apart
        place |= {name: index for index, name in enumerate(names)}
        stems = [_find(line, place, suffix) for line in wanted]
        unknown = [line for line, stem in zip(wanted, stems, strict=True) if stem not in place]
        if unknown or not wanted:
            what = f'{unknown[0]} is not in the dataset{did_you_mean(unknown[0], place)}' if unknown else 'it is empty'
            raise BenchError(f'--subset: {subset}: {what}')
        chosen = sorted({place[stem] for stem in stems})
    if limit is not None:
        if limit < 1:
            raise BenchError(f'--limit is {limit}; it must be at least 1')
        chosen = chosen[:limit]
    return chosen


def _find(line: str, place: dict[str, int], suffix: str) -> str:
    """The name in ``place`` that a line means, or the line itself."""
    whole = line.removesuffix(suffix)
    for name in (line, whole, whole.removesuffix(Path(whole).suffix)):
        for candidate in (name, Path(name).name):
            if candidate in place:
                return candidate
    return line
