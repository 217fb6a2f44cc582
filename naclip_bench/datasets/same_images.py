"""One pass over images that several datasets have in common, with the ground truth of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dataset import BaseDataset, Compose
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from ..digests import file_digests
from ..errors import BenchError
from .check import image_names, is_drawn


class SameImages(Dataset):
    """Images read and resized once, and a mask from each dataset: VOC21 and VOC20, or COCO-Object and COCO-Stuff.

    An item has ``inputs`` as a single dataset gives them; its ``data_samples`` has ``truths``, label maps (H, W) by
    dataset.

    Args:
        datasets: by name. They have the same images in the same order, and pipelines that differ in nothing but the
            masks.

    Attributes:
        names: of the images, as :func:`image_names` tells them.
        indices: which of them are items; all unless set.

    Raises:
        BenchError: datasets whose images differ.
    """

    def __init__(self, datasets: dict[str, BaseDataset]) -> None:
        self.datasets = datasets
        self.first = next(iter(self.datasets.values()))
        self.names = image_names(self.first)
        for name, dataset in self.datasets.items():
            if image_names(dataset) != self.names:
                raise BenchError(f'{name} has other images than {next(iter(datasets))}: {dataset.data_root}')
        if len(self.datasets) > 1:
            steps = self.first.pipeline.transforms
            masks = _index_of_masks([type(step).__name__ for step in steps])
            if masks is None:
                raise BenchError('datasets run together where nothing but LoadMask and packing follows their Resize')
            self.read = Compose(steps[:masks])
            self.load_mask = {name: dataset.pipeline.transforms[masks] for name, dataset in self.datasets.items()}
        self.indices = list(range(len(self.names)))

    def full_init(self) -> None:
        """mmengine's loop asks for it; there is nothing left to do."""

    @property
    def metainfo(self) -> dict:
        return self.first.metainfo

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        place = self.indices[index]
        if len(self.datasets) == 1:
            (name,) = self.datasets
            item = self.first[place]
            sample = item['data_samples']
            sample.truths = {name: sample.gt_sem_seg.data[0]}
            del sample.gt_sem_seg
            sample.set_metainfo(dict(sample_idx=index))
            return item
        results = self.read(self.first.get_data_info(place))
        truths = {}
        for name, dataset in self.datasets.items():
            info = {**dataset.get_data_info(place), 'ori_shape': results['ori_shape']}
            truths[name] = torch.from_numpy(self.load_mask[name].transform(info)['gt_seg_map'])
        image = torch.from_numpy(results['img']).permute(2, 0, 1).contiguous()
        sample = SegDataSample(
            metainfo=dict(img_path=results['img_path'], ori_shape=results['ori_shape'], sample_idx=index)
        )
        sample.truths = truths
        return dict(inputs=image, data_samples=sample)


#: Settings of a dataset that its images have nothing to do with.
OF_MASKS = ('reduce_zero_label', 'ignore_index', 'metainfo')


def _index_of_masks(steps: Sequence[str]) -> int | None:
    """Where LoadMask stands, if nothing but packing follows it."""
    masks = (['LoadMask', 'PackSegInputs'], ['DrawMask', 'PackSegInputs'])
    return len(steps) - 2 if steps[-2:] in masks else None


def image_key(dataset: dict, folders: dict[tuple[str, str], str]) -> tuple[str, ...]:
    """Tell what datasets must agree in to share a pass: where the images are, which, and how they are read.

    Folders that hold the same images twice (COCO-Object's and COCO-Stuff's) count as the same; files are read for it
    only where their names and sizes are alike.

    Args:
        dataset: its config.
        folders: what is known of folders, to which this adds: a folder is looked through once.
    """
    kinds = [step['type'] for step in dataset['pipeline']]
    if _index_of_masks(kinds) is None:
        # Masks that are changed beside the images: nothing is shared but the very same dataset.
        return (str(dataset),)
    steps = [sorted(map(str, dict(step).items())) for step in dataset['pipeline'][:-2]]
    if is_drawn(dataset):
        # All that it is given, but what its masks are made of alone.
        given = {key: value for key, value in dataset.items() if key not in (*OF_MASKS, 'type', 'pipeline')}
        return DATASETS.get(dataset['type']).drawn, str(sorted(given.items(), key=str)), str(steps)
    folder, suffix = Path(dataset['data_root']) / dataset['data_prefix']['img_path'], dataset.get('img_suffix', '.jpg')
    place = str(folder), suffix
    if place not in folders:
        files = sorted(
            (path.relative_to(folder).as_posix(), path.stat().st_size) for path in folder.rglob(f'*{suffix}')
        )
        twins = [of for of, listed in folders.items() if of[0] != place[0] and files and listed == str(files)]
        alike = all(_contents(Path(of[0]), files) == _contents(folder, files) for of in twins)
        folders[place] = str(files if files and alike else folder)
    return str(dataset.get('ann_file')), folders[place], str(steps)


def _contents(folder: Path, files: Sequence[tuple[str, int]]) -> list[str]:
    return file_digests([str(folder / name) for name, _ in files])
