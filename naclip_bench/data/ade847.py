"""ADE20K with 847 classes, from the full release.

Source: the release ``ADE20K_2021_17_01`` (or ``ADE20K_2016_07_26``) of https://groups.csail.mit.edu/vision/datasets/ADE20K:
images ``ADE_val_00000001.jpg`` in folders of scenes, and beside each a ``_seg.png`` whose red and green channels hold
a pixel's object, ``R // 10 * 256 + G``: 0 for none, else its place (from 1) in ``objectnames`` of ``index_ade20k.pkl``
(``.mat`` in 2016).

The 847 are MaskFormer's, looked up by the names in ``ade847.txt`` beside this file: the release's own, with all
synonyms, while the benchmark's class names leave out what would stand for two classes. MaskFormer also reduces images
and masks to a short side of 512; here they keep their sizes.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import BenchError, did_you_mean
from ..optional import needed
from .masks import IGNORED_16, convert_masks, open_mask, relabel
from .sources import place_images

WHAT = 'ADE-847'
INDEX = 'index_ade20k'


def convert_ade847(source: Path, data_root: Path, names: Sequence[str] | None = None) -> None:
    """``ade/ADE20K_847``: 16-bit labels 0..846, and 65535 for all other objects and for none, not scored.

    Args:
        source: where the release was unpacked.
        data_root: folder of all datasets.
        names: of the classes, as the release has them; None: the 847.

    Raises:
        BenchError: a file is missing or damaged, the release lacks a class, or has one twice.
    """
    index = _find_index(source)
    table = object_table(read_object_names(index), class_names() if names is None else names, index)
    images = sorted(index.parent.rglob('ADE_val_*.jpg'), key=lambda path: path.name)
    if not images:
        raise BenchError(f'{WHAT}: found no ADE_val_*.jpg beside {index}; unpack the full release there')
    target = data_root / 'ade' / 'ADE20K_847'
    place_images([(path, target / 'images' / 'validation' / path.name) for path in images], WHAT)
    masks = target / 'annotations' / 'validation'
    jobs = [(path.with_name(f'{path.stem}_seg.png'), masks / f'{path.stem}.png') for path in images]
    convert_masks(jobs, partial(labels_of_objects, table), WHAT)


def class_names() -> list[str]:
    """The 847 as the release names them."""
    return Path(__file__).with_suffix('.txt').read_text(encoding='utf-8').splitlines()


def read_object_names(index: Path) -> list[str]:
    """The release's names of all objects; object k of a mask is the k-th, from 1.

    Raises:
        BenchError: the index is damaged or holds no names; or scipy, which a ``.mat`` wants, is not installed.
    """
    matlab = needed('scipy.io', 'data', f'reading {index.name}') if index.suffix == '.mat' else None
    try:
        if matlab:
            names = matlab.loadmat(index, simplify_cells=True, variable_names=['index'])['index']['objectnames']
        else:
            with index.open('rb') as file:
                names = _PlainUnpickler(file).load()['objectnames']
        return [str(name) for name in names]
    except Exception as error:  # pickle and scipy have many for a damaged file
        raise BenchError(f'{index} holds no objectnames ({error or type(error).__name__}); unpack it again') from None


def object_table(objects: Sequence[str], names: Sequence[str], index: Path) -> np.ndarray:
    """Label of each object of a mask, 0 being none.

    Only letters, digits and commas count, without case: lists of the 847 have "screen, crt screen" and "lords table".

    Raises:
        BenchError: a name is not among the objects, or more than once, so that a name does not tell which is meant.
    """
    places = defaultdict(list)
    for number, name in enumerate(objects, 1):
        places[_key(name)].append(number)
    table = np.full(len(objects) + 1, IGNORED_16, np.uint16)
    for label, name in enumerate(names):
        found = places.get(_key(name), [])
        if len(found) != 1:
            times = f'is there {len(found)} times' if found else f'is not there{did_you_mean(name, objects)}'
            raise BenchError(f'{index} has {len(objects)} objects, but "{name}" {times}; is it the full release?')
        table[found] = label
    return table


def labels_of_objects(table: np.ndarray, path: Path) -> np.ndarray:
    image = open_mask(path)
    if image.mode != 'RGB':
        raise BenchError(f'{path} is an image of mode {image.mode}; the full release has its objects in red and green')
    red, green = (np.asarray(image.getchannel(channel)) for channel in 'RG')
    objects = red // 10 * np.uint16(256) + green
    return relabel(objects, table, path, f'objects 0..{len(table) - 1}, as in {INDEX}')


def _key(name: str) -> str:
    return ''.join(letter for letter in name.casefold() if letter.isalnum() or letter == ',')


def _find_index(source: Path) -> Path:
    for suffix in ('.pkl', '.mat'):
        for path in sorted(source.rglob(f'{INDEX}{suffix}')):
            return path
    raise BenchError(f'{WHAT}: found no {INDEX}.pkl in {source}; unpack the full release, ADE20K_2021_17_01, there')


class _PlainUnpickler(pickle.Unpickler):
    """Reads what the index consists of, numpy's arrays among plain objects; a pickle can call anything otherwise."""

    def find_class(self, module: str, name: str) -> object:
        if module.startswith('numpy') and name in ('_reconstruct', 'ndarray', 'dtype', 'scalar', '_frombuffer'):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'it wants {module}.{name}, which no index has')
