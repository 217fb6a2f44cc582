"""Pictures through the methods of segmenters that share weights: small ones as benchmarks go, large ones in tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mmcv
import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ..errors import BenchError
from ..inference.decide import NOT_FINITE
from ..inference.pipeline import WHOLE, segment
from ..inference.soft import class_probabilities
from ..inference.tiles import tiles
from ..methods.base import TrainingFreeSegmentor
from .geo import ROWS
from .inputs import Picture
from .result import Segmentation

if TYPE_CHECKING:
    from .segmenter import Segmenter

#: Pixels of an image, as it is or as the model sees it, from which on it is worked on in tiles.
LARGE = 2**24


def segment_pictures(
    segmenters: Sequence[Segmenter],
    pictures: Sequence[Picture],
    probabilities: bool | str | Path = False,
    tell: Callable[[float], None] = lambda share: None,
) -> list[list[Segmentation]]:
    """Segment pictures with each of several segmenters that share their weights; a list for each segmenter.

    Args:
        segmenters: the first, and others made of it by :meth:`Segmenter.with_method`.
        pictures: of any sizes.
        probabilities: see :meth:`Segmenter.__call__`; as a path for one picture and one segmenter.
        tell: told of each part that is done; the parts add up to 1.

    Raises:
        BenchError: see :meth:`Segmenter.__call__`.
    """
    for picture in pictures:
        for segmenter in segmenters:
            _check_size(segmenter, picture)
    large = [max(np.prod(picture.size), np.prod(segmenters[0].resized(picture.size))) > LARGE for picture in pictures]
    results: list[list[Segmentation]] = [[None] * len(pictures) for _ in segmenters]
    small = [index for index, is_large in enumerate(large) if not is_large]
    share = 1 / len(pictures)
    # Methods that see images at one size share the trunk.
    groups: dict[object, list[int]] = {}
    for place, segmenter in enumerate(segmenters):
        groups.setdefault(segmenter.resized((1000, 1500)), []).append(place)
    for places in groups.values() if small else ():
        asked = [_Asked(segmenters[place], pictures[index], probabilities) for place in places for index in small]
        part = share * len(small) * len(places) / len(segmenters)
        _plain([segmenters[place] for place in places], [pictures[index] for index in small], asked, part, tell)
        for number, one in enumerate(asked):
            results[places[number // len(small)]][small[number % len(small)]] = one.result
    for index in (index for index, is_large in enumerate(large) if is_large):
        for place, segmenter in enumerate(segmenters):
            one = _Asked(segmenter, pictures[index], probabilities)
            _tiled(segmenter, pictures[index], one, share / len(segmenters), tell)
            results[place][index] = one.result
    return results


class _Asked:
    """What is being made of one picture by one segmenter."""

    def __init__(self, segmenter: Segmenter, picture: Picture, probabilities: bool | str | Path) -> None:
        self.segmenter, self.picture = segmenter, picture
        classes = len(segmenter.names)
        kind = np.uint8 if classes < 256 else np.uint16
        self.labels, self.nothing = np.empty(picture.size, kind), int(np.iinfo(kind).max)
        shape = (classes, *picture.size)
        self.soft: np.ndarray | None = None
        if isinstance(probabilities, str | Path):
            Path(probabilities).parent.mkdir(parents=True, exist_ok=True)
            self.soft = np.lib.format.open_memmap(probabilities, 'w+', np.float32, shape)
        elif probabilities:
            self.soft = np.empty(shape, np.float32)

    def soften(self, logits: object, rows: slice = slice(None), columns: slice = slice(None)) -> None:
        if self.soft is not None:
            member = self.segmenter.member
            _, query_class, multiplicity = member.text
            out = torch.empty(len(self.soft), *logits.size, device=logits.device)
            class_probabilities(logits, query_class, multiplicity, member.logit_scale, out)
            self.soft[:, rows, columns] = out.cpu().numpy()

    @property
    def result(self) -> Segmentation:
        picture, raster = self.picture, self.picture.raster
        if raster is not None:
            for first in range(0, picture.size[0], ROWS):
                rows = self.labels[first : first + ROWS]
                rows[~raster.covered(first, first + len(rows))] = self.nothing
        segmenter = self.segmenter
        return Segmentation(
            labels=self.labels,
            names=segmenter.names,
            image=picture.image,
            probabilities=self.soft,
            method=str(segmenter.asked['method']),
            name=picture.name,
            georeference=picture.georeference,
            random_weights=segmenter.member.backbone.random_weights,
        )


def _check_size(segmenter: Segmenter, picture: Picture) -> None:
    (height, width), patch = picture.size, segmenter.member.backbone.patch
    resized = segmenter.resized(picture.size)
    if min(resized) < patch:
        raise BenchError(
            f'{picture.name} is {width} pixels wide and {height} high, and {resized[1]} x {resized[0]} for the model, '
            f'less than a patch of {patch} x {patch}; crop it, or resize it to more'
        )


def model_input(segmenter: Segmenter, image: np.ndarray) -> Tensor:
    """(3, H, W) BGR uint8 at the size that the model sees; what benchmarks do."""
    resized = segmenter.resized(image.shape[:2])
    if resized != image.shape[:2]:
        # Before the colors change places, which copies the image.
        image = mmcv.imresize(image, resized[::-1], interpolation='bilinear', backend='cv2')
    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)


def _normalized(member: TrainingFreeSegmentor, images: Sequence[Tensor]) -> list[Tensor]:
    return member.data_preprocessor(dict(inputs=list(images)))['inputs']


def _plain(
    segmenters: Sequence[Segmenter],
    pictures: Sequence[Picture],
    asked: Sequence[_Asked],
    share: float,
    tell: Callable[[float], None],
) -> None:
    members = [segmenter.member for segmenter in segmenters]
    inputs = _normalized(members[0], [model_input(segmenters[0], picture.image) for picture in pictures])
    # Read here, upright and on white; a file may be read otherwise elsewhere.
    known = [dict(ori_shape=of.size, img_path=of.name, original=of.image[:]) for of in pictures]
    samples = [SegDataSample(metainfo=of) for of in known]

    def look(member: int, image: int, logits: object) -> None:
        asked[member * len(pictures) + image].soften(logits)

    labels = segment(members, inputs, samples, lambda part: tell(part * share), look)
    for one, of in zip(asked, (of for of_member in labels for of in of_member), strict=True):
        one.labels[:] = of.cpu().numpy()


@torch.no_grad()
def _tiled(segmenter: Segmenter, picture: Picture, asked: _Asked, share: float, tell: Callable[[float], None]) -> None:
    member, image = segmenter.member, picture.image
    whole = _why_whole(member)
    if whole:
        raise BenchError(
            f'{picture.name} is {picture.size[1]} x {picture.size[0]} pixels, too much at once, and {whole}; '
            'cut it into smaller images'
        )
    resized = segmenter.resized(picture.size)
    if resized != picture.size:
        of_model = model_input(segmenter, image[:])

        def rows_of(first: int, last: int) -> Tensor:
            return _normalized(member, [of_model[:, first:last]])[0]
    else:

        def rows_of(first: int, last: int) -> Tensor:
            rows = np.ascontiguousarray(image[first:last][..., ::-1])
            return _normalized(member, [torch.from_numpy(rows).permute(2, 0, 1)])[0]

    for tile in tiles([member], rows_of, resized, picture.size, lambda part: tell(part * share)):
        (logits,) = tile.logits
        labels = member.decide(logits)
        if labels.amin() == NOT_FINITE:
            raise BenchError(
                f'the logits of {picture.name} are not finite (NaN or infinite); check the weights '
                f'"{member.backbone.weights_name}", or take the precision fp32 or bf16'
            )
        asked.labels[tile.rows, tile.columns] = labels.cpu().numpy()
        asked.soften(logits, tile.rows, tile.columns)


def _why_whole(member: TrainingFreeSegmentor) -> str | None:
    """Why a method needs the whole image to decide about a pixel."""
    if member.window is None:
        return 'the method looks at the whole image in one window'
    if member.refine is not None:
        return 'its refinement needs the whole image'
    if member.area_thd is not None:
        return 'its area threshold needs the whole image'
    if member.whole_patches or type(member).image_logits is not TrainingFreeSegmentor.image_logits:
        return f'{type(member).__name__} looks at the patches of the whole image'
    if any(name in member.helpers for name in WHOLE):
        return 'its helper sees the whole image'
    if type(member).decide is not TrainingFreeSegmentor.decide:
        return f'{type(member).__name__} decides over the whole image'
    return None
