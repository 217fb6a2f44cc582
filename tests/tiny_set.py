"""A dataset of a dozen small images under an official list of a dozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from naclip_bench.bundled import CONFIGS
from naclip_bench.checks.dataset import CheckedDataset, check_dataset
from naclip_bench.configuration import dataset_config, load_config
from naclip_bench.datasets import splits
from naclip_bench.datasets.splits import official_list, split_names

COUNT, SIZE = 12, (10, 8)


@contextmanager
def tiny_lists(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    """Official lists of a dozen images; every other one of "voc" is of "context" too, as two thirds really are."""
    folder = tmp_path / 'splits'
    folder.mkdir()
    names = {split: [f'{split}_{index:02}' for index in range(COUNT)] for split in split_names()}
    names['context'][::2] = names['voc'][::2]
    for split, listed in names.items():
        (folder / f'{split}.txt').write_text('\n'.join(listed) + '\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, 'SPLITS', folder)
        official_list.cache_clear()
        yield names
    official_list.cache_clear()


class TinySet:
    """The images of an official list, and masks between them of all ``labels``, with or without ``void``."""

    def __init__(self, folder: Path, key: str, labels: range, void: int | None = None, split: str | None = None):
        self.key, self.data = key, folder / 'data'
        config = load_config(dataset_config(key), str(self.data))
        self.config, settings = config, config.test_dataloader.dataset
        root = Path(settings.data_root)
        self.images, self.masks = (root / settings.data_prefix[part] for part in ('img_path', 'seg_map_path'))
        self.suffixes = settings.img_suffix, settings.seg_map_suffix
        self.names = list(official_list(split or config.split))
        for path in (self.images, self.masks):
            path.mkdir(parents=True, exist_ok=True)
        self.list = root / settings.ann_file if settings.get('ann_file') else None
        if self.list:
            self.list.parent.mkdir(parents=True)
            self.write_list()
        image = Image.new('RGB', SIZE[::-1], (90, 120, 30)).resize((32, 40))
        for index, name in enumerate(self.names):
            image.save(self.image(name))
            mask = np.resize(labels[index::COUNT], SIZE).repeat(4, 0).repeat(4, 1)
            mask[:4] = mask[0, 0] if void is None else void
            self.save(name, mask)

    def write_list(self) -> None:
        self.list.write_text('\n'.join(self.names) + '\n')

    def image(self, name: str) -> Path:
        return self.images / f'{name}{self.suffixes[0]}'

    def mask(self, name: str) -> Path:
        return self.masks / f'{name}{self.suffixes[1]}'

    def labels(self, name: str) -> np.ndarray:
        return np.array(Image.open(self.mask(name)))

    def save(self, name: str, labels: np.ndarray) -> None:
        Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(self.mask(name))

    def problems(self, **settings: object) -> dict[str, str]:
        """What is wrong and how to mend it, by check."""
        for key, value in settings.items():
            self.config.test_dataloader.dataset[key] = value
        return problems(check_dataset(self.config))


def problems(report: CheckedDataset) -> dict[str, str]:
    wrong = [finding for finding in report.findings if finding.problem]
    assert all(finding.mend for finding in wrong)
    assert report.sound == (not wrong)
    assert len({finding.check for finding in wrong}) == len(wrong)
    return {finding.check: f'{finding.problem} | {finding.mend}' for finding in wrong}


def assert_only(found: dict[str, str], check: str, *fragments: str) -> None:
    assert list(found) == [check]
    for fragment in fragments:
        assert fragment in found[check]


#: Labels and void of the official masks.
MASKS = {
    'voc21': (range(21), 255),
    'voc20': (range(21), 255),
    'pc60': (range(60), None),
    'pc59': (range(60), None),
    'coco_object': (range(81), None),
    'coco_stuff': (range(171), 255),
    'cityscapes': (range(19), 255),
    'ade20k': (range(151), None),
    'pc459': (range(459), 65535),
    'ade847': (range(847), 65535),
}


def make_set(folder: Path, key: str, masks: str | tuple | None = None, **more: object) -> TinySet:
    """A sound set of the dataset ``key``, or with the masks of another, or of these labels and this void."""
    labels, void = masks if isinstance(masks, tuple) else MASKS[masks or key]
    return TinySet(folder, key, labels, void, **more)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 40])


def own_data(tmp_path: Path, classes: tuple[str, ...]) -> Path:
    """A config of a folder of a dozen images and one of masks."""
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for index in range(COUNT):
        Image.new('RGB', (8, 6)).save(tmp_path / 'images' / f'{index}.jpg')
        Image.fromarray(np.full((6, 8), index % 3, np.uint8)).save(tmp_path / 'masks' / f'{index}.png')
    config = tmp_path / 'mine.py'
    dataset = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=classes),
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
    )
    base = [str(CONFIGS / '_base_' / part) for part in ('methods/naclip.py', 'common.py')]
    config.write_text(f'_base_ = {base!r}\ndataset = "mine"\ntest_dataloader = dict(dataset={dataset!r})\n')
    return config
