"""Is the data there? Asked before anything slow begins."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..errors import BenchError, did_you_mean
from .finding import Finding
from .lists import meanings
from .loading import LEFT_OUT, NOT_SCORED_16_BIT, set_up_masks, stored_classes
from .prepared import how_to_get
from .splits import some
from .subset import read_subset

#: What a dataset consists of, and the key of each folder in its ``data_prefix``.
PARTS = {'images': 'img_path', 'masks': 'seg_map_path'}


def open_dataset(config: ConfigDict) -> BaseDataset:
    """The dataset of a config, its folders and its list seen to exist.

    Raises:
        BenchError: one of them does not, or there is no image; says the expected layout.
    """
    if config.type not in DATASETS:
        raise BenchError(f'unknown dataset "{config.type}"{did_you_mean(config.type, DATASETS.module_dict)}')
    if not is_drawn(config):
        root, prefix = Path(config.get('data_root') or ''), _prefix(config)
        without = [what for what, key in PARTS.items() if prefix.get(key) is None]
        if without:
            raise BenchError(
                f'data: the dataset "{config.type}" has no {without[0]}; data_prefix must name the folder of images '
                '(img_path) and that of masks (seg_map_path): nothing can be scored without'
            )
        wanted = [root / prefix[key] for key in PARTS.values()]
        wanted += [root / config.ann_file] if config.get('ann_file') else []
        missing = [path for path in wanted if not path.exists()]
        if missing:
            raise BenchError(f'data: there is no {missing[0]}; expected: {layout(config)}; {how_to_get(config)}')
    try:
        # mmengine's serializing stumbles over a list of nothing.
        dataset = DATASETS.build(config, default_args=dict(serialize_data=False))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f'data: cannot make a "{config.type}" of its settings: {" ".join(str(error).split())}'
        ) from None
    if is_drawn(config):
        return dataset
    if 'classes' not in dataset.metainfo:
        raise BenchError(f'data: the dataset "{config.type}" has no classes; give it metainfo=dict(classes=(...))')
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
        BenchError: the label that is not scored is a class as well, or classes cannot be mapped.
    """
    ignored, first, classes = dataset.ignore_index, int(bool(dataset.reduce_zero_label)), len(stored_classes(dataset))
    if type(ignored) is not int or not 0 <= ignored <= NOT_SCORED_16_BIT:
        raise BenchError(f'data: ignore_index is {ignored!r}; it must be a label, 0 to {NOT_SCORED_16_BIT}')
    # Masks and shifted labels are both compared with it.
    if ignored < first + classes:
        problem = f'label {ignored} is not scored, but with {classes} classes it is one of them'
        raise BenchError(f'data: {problem}; {_way_out(ignored, first, classes)}')
    if dataset.label_map and len(dataset.metainfo['classes']) > LEFT_OUT:
        raise BenchError(
            f'data: mmseg maps no more than {LEFT_OUT} classes to another order; leave the classes out of metainfo'
        )
    set_up_masks(dataset)


def _way_out(ignored: int, first: int, classes: int) -> str:
    if ignored == 0 and first:
        return 'reduce_zero_label=True leaves out label 0 of the masks already: take ignore_index away'
    if ignored == 0:
        return 'set reduce_zero_label=True in the dataset, which makes label 1 class 0, and take ignore_index away'
    if first + classes <= 255:
        return 'set ignore_index=255 in the dataset'
    return f'set ignore_index={NOT_SCORED_16_BIT} in the dataset, and write its masks with 16 bits a pixel'


def _prefix(config: ConfigDict) -> dict[str, str]:
    return config.get('data_prefix') or dict.fromkeys(PARTS.values(), '')


def layout(config: ConfigDict) -> str:
    """The files that a dataset consists of, in one line."""
    prefix, suffixes = _prefix(config), (config.get('img_suffix', '.jpg'), config.get('seg_map_suffix', '.png'))
    parts = [f'{prefix[key]}/*{suffix}' for key, suffix in zip(PARTS.values(), suffixes, strict=True)]
    parts += [config.ann_file] if config.get('ann_file') else []
    return f'{config.get("data_root") or "."}/{{{", ".join(parts)}}}'


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
            raise BenchError(f'subset {subset}: {what}')
        chosen = sorted({place[stem] for stem in stems})
    if limit is not None:
        if limit < 1:
            raise BenchError(f'the limit is {limit}; it must be at least 1')
        chosen = chosen[:limit]
    return chosen


def _find(line: str, place: dict[str, int], suffix: str) -> str:
    """The name in ``place`` that a line means, or the line itself."""
    whole = line.removesuffix(suffix)
    for name in (*meanings(line, suffix), whole.removesuffix(Path(whole).suffix)):
        for candidate in (name, Path(name).name):
            if candidate in place:
                return candidate
    return line
