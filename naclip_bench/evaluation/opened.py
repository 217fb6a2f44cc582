"""Leaves that share images, sizes and weights: a pass, checked and then opened."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from mmengine.dataset import BaseDataset
from mmseg.registry import METRICS

from ..backbones import FrozenCLIP
from ..backbones.described import described
from ..backbones.sources import find_architecture, find_weights
from ..cache import cache_folder
from ..checks.start import build_dataset
from ..datasets.check import image_names, select
from ..datasets.digest import image_digests
from ..datasets.same_images import SameImages, image_key
from ..datasets.splits import Deviation
from ..errors import BenchError
from ..helpers import HELPERS
from ..helpers.base import helper_type
from ..methods.base import TrainingFreeSegmentor
from ..methods.side_by_side import SideBySide
from ..settings import resolved_settings
from ..vocabulary import Vocabulary
from .config_check import check_config
from .journal import Finished, Journal
from .key import code_of, key_of, key_parts
from .leaf import Leaf, Selection
from .metric import LeafCounter


@dataclass
class Pass:
    """Leaves that share images, sizes and weights."""

    leaves: list[Leaf]
    _datasets: dict[str, BaseDataset] | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        return ', '.join(dict.fromkeys(leaf.config.dataset for leaf in self.leaves))

    def check(self, selection: Selection) -> dict[str, BaseDataset]:
        """See that everything is there and fits, before anything slow begins; the datasets by their key.

        Raises:
            BenchError: settings, data, class names or weights that are not there or do not fit.
        """
        if self._datasets is None:
            datasets: dict[str, BaseDataset] = {}
            for leaf in self.leaves:
                check_config(leaf.config)
                if leaf.dataset_key not in datasets:
                    datasets[leaf.dataset_key] = build_dataset(leaf.config.test_dataloader.dataset)
                check_classes(leaf, datasets[leaf.dataset_key])
                # As it is now: what is edited while other passes run is not what runs.
                code_of(leaf.config, datasets[leaf.dataset_key])
            check_weights(self.leaves[0])
            for leaf in self.leaves:
                check_helpers(leaf)
            self._datasets = datasets
        first = next(iter(self._datasets.values()))
        select(image_names(first), selection.limit, selection.subset, first.img_suffix)
        return self._datasets


def passes_of(leaves: Iterable[Leaf]) -> list[Pass]:
    """Group leaves by what they share.

    passes_of([Leaf(name, load_config(name)) for name in ('naclip_voc21', 'sclip_voc20')])    # one pass
    """
    shared: dict[tuple, list[Leaf]] = defaultdict(list)
    folders: dict[tuple, str] = {}
    for leaf in leaves:
        model = leaf.config.model
        prepared = json.dumps([model.backbone, model.get('data_preprocessor')], sort_keys=True, default=str)
        shared[(*image_key(leaf.config.test_dataloader.dataset, folders), prepared)].append(leaf)
    return [Pass(group) for group in shared.values()]


def check_weights(leaf: Leaf) -> None:
    """See that a leaf's weights are here, fetched where they must be.

    Raises:
        BenchError: they cannot be had.
    """
    backbone = resolved_settings('model.backbone', FrozenCLIP, leaf.config.model.backbone)
    architecture = find_architecture(backbone['arch'])
    # A folder or hub name that is an architecture and weights in one has been read with the former.
    if backbone['pretrained'] is not None and architecture.place is None:
        find_weights(str(backbone['pretrained']), architecture)


def check_helpers(leaf: Leaf) -> None:
    """See that what a leaf's helpers ask for is here, fetched where it must be.

    Raises:
        BenchError: it cannot be had.
    """
    for name in HELPERS:
        settings = leaf.config.model.get(name)
        if settings:
            helper_type(f'model.{name}', settings).check(settings)


def check_classes(leaf: Leaf, dataset: BaseDataset) -> None:
    """See that a leaf's class names fit its dataset.

    Raises:
        BenchError: they are of another number of classes.
    """
    vocabulary, classes = Vocabulary(leaf.config.model.class_names), len(dataset.metainfo['classes'])
    if len(vocabulary) != classes:
        raise BenchError(
            f'class names: {vocabulary.path} has {len(vocabulary)} classes, but {type(dataset).__name__} has {classes}'
        )


class OpenPass:
    """A pass with its data and model built: its leaves have keys now.

    Args:
        pass_: what is opened.
        selection: which images.

    Attributes:
        data: the images, with a truth a dataset.
        names: of the images that are run, in order.
        members: the leaves' methods, which need not have their weights yet: ``model`` has.
        parts: of each leaf: everything that decides its matrices, by name; see :func:`key_parts`.
        keys: of each leaf: the hash of that.
        places: place of the first leaf that has each key.
        computed: how many images were computed of a leaf, by its key.

    Raises:
        BenchError: see :meth:`Pass.check`.
    """

    def __init__(self, pass_: Pass, selection: Selection) -> None:
        datasets = pass_.check(selection)
        self.leaves, self.title, self.selection = pass_.leaves, pass_.title, selection
        self.data = SameImages(datasets)
        self.data.indices = select(self.data.names, selection.limit, selection.subset, self.data.first.img_suffix)
        self.names = [self.data.names[index] for index in self.data.indices]
        cuda = torch.cuda.is_available()
        self.device = torch.device('cuda', torch.cuda.current_device()) if cuda else torch.device('cpu')
        self._side_by_side = self._built()
        self.parts = [
            key_parts(leaf.config, member, self.dataset(leaf))
            for leaf, member in zip(self.leaves, self.members, strict=True)
        ]
        self._digests = {
            name: dict(zip(self.names, image_digests(dataset, self.data.indices), strict=True))
            for name, dataset in self.data.datasets.items()
        }
        self.computed: dict[str, int] = {}
        self.keys: list[str] = []
        self.places: dict[str, int] = {}
        for place, (leaf, parts) in enumerate(zip(self.leaves, self.parts, strict=True)):
            digests = self._digests[leaf.dataset_key]
            first = self.places.get(key_of(parts))
            if first is not None and self._digests[self.leaves[first].dataset_key] != digests:
                # What masks hold is told image by image, behind the key; only side by side do they need two keys.
                parts['masks'] = key_of(digests)
            self.keys.append(key_of(parts))
            self.places.setdefault(self.keys[-1], place)

    def _built(self, loaded: bool = False) -> SideBySide:
        """The methods, with their weights where these are not known or asked for."""
        members = {f'leaf{place}': _without_backbone(leaf) for place, leaf in enumerate(self.leaves)}
        # Helpers are loaded whatever is asked for, and not twice.
        loaded |= any(config.get(name) for config in members.values() for name in HELPERS)
        try:
            with nullcontext() if loaded else described(self.device):
                model = SideBySide(members, self.leaves[0].config.model.backbone).eval()
        except RuntimeError:
            # A method that looks at weights when it is built; where they have values, the error is another.
            if loaded:
                raise
            return self._built(loaded=True)
        return model if model.backbone.described else model.to(self.device)

    @property
    def model(self) -> SideBySide:
        """The leaves' methods side by side, loaded when they are first asked for.

        Raises:
            BenchError: the weights are not what they were when the keys were made.
        """
        known = self._side_by_side.backbone
        if known.described:
            model = self._built(loaded=True)
            if model.backbone.weights_hash != known.weights_hash:
                raise BenchError(
                    f'the weights {known.weights_name} were changed meanwhile, or what {cache_folder()} tells of them '
                    'is wrong; delete its folder "weights" and run this again'
                )
            self._side_by_side = model
        return self._side_by_side

    @property
    def members(self) -> list[TrainingFreeSegmentor]:
        return list(self._side_by_side.members.values())

    def leaf_of(self, key: str) -> Leaf:
        return self.leaves[self.places[key]]

    def member_of(self, key: str) -> TrainingFreeSegmentor:
        return self.members[self.places[key]]

    def digests_of(self, key: str) -> Mapping[str, str]:
        """Tell what image and mask hold now, by the image's name."""
        return self._digests[self.leaf_of(key).dataset_key]

    def dataset(self, leaf: Leaf) -> BaseDataset:
        return self.data.datasets[leaf.dataset_key]

    def classes(self, key: str) -> int:
        return len(self.dataset(self.leaf_of(key)).metainfo['classes'])

    def deviation(self, leaf: Leaf) -> Deviation | None:
        """Tell how all of a leaf's images differ from its official list, where there is one."""
        split = leaf.config.get('split')
        return Deviation.of(self.data.names, split) if split else None

    def fitting(self, key: str, images: Mapping[str, Finished]) -> set[str]:
        """Tell which of the images that are run are finished: computed from what image and mask hold now."""
        return {
            name for name, digest in self.digests_of(key).items() if name in images and images[name].digest == digest
        }

    def missing(self, key: str, digests: Mapping[str, str]) -> list[str]:
        """Tell which of the images that are run are not finished, given what was computed from."""
        return [name for name, digest in self.digests_of(key).items() if digests.get(name) != digest]

    def counter(self, key: str, journal: Journal | None = None) -> LeafCounter:
        """Make what counts the leaf with this key."""
        leaf, dataset = self.leaf_of(key), self.dataset(self.leaf_of(key))
        metric = METRICS.build(leaf.config.test_evaluator)
        metric.ignore_index = dataset.ignore_index
        member, digests = f'leaf{self.places[key]}', self.digests_of(key)
        return LeafCounter(metric, member, leaf.dataset_key, self.classes(key), self.names, digests, journal)

    def finished_members(self, seen: Mapping[str, set[str]]) -> dict[str, frozenset[int]]:
        """Indices of the images that each member need not see; of a leaf that is not to be computed, all."""
        everything = frozenset(range(len(self.names)))
        finished = {f'leaf{place}': everything for place in range(len(self.leaves))}
        for key, names in seen.items():
            finished[f'leaf{self.places[key]}'] = frozenset(
                index for index, name in enumerate(self.names) if name in names
            )
        return finished


def _without_backbone(leaf: Leaf) -> dict:
    """The config of a method without its backbone, which all members of a pass share."""
    return {key: value for key, value in leaf.config.model.to_dict().items() if key != 'backbone'}
