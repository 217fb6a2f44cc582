"""Images through one frozen CLIP, for one method or for several: windows and trunk are run once for all of them.

A method on its own goes the same way, as the only member, so that shared and separate runs are equal to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP, Trunk, TrunkNeed
from ..errors import BenchError, is_out_of_memory
from ..helpers import Helper
from ..timing import STOPWATCH
from .decide import NOT_FINITE
from .densecrf import FieldLogits
from .pamr import RefinedLogits
from .refinement import Refinement
from .stitch import PixelLogits, block_elements
from .windows import Windows

Logits = PixelLogits | RefinedLogits | FieldLogits


#: Settings that are helpers which see whole images.
WHOLE = ('sam', 'regions')

#: Devices where an image is decided by itself: its numbers take the time there, not the steps to start, and no bit of
#: a logit may depend on the images beside it.
ONE_BY_ONE = {'cpu'}


class Member(Protocol):
    """What is asked of a method; :class:`naclip_bench.methods.base.TrainingFreeSegmentor` says what each is."""

    backbone: FrozenCLIP
    window: int | None
    stride: int
    window_batch: int | None
    whole_patches: bool
    refine: Refinement | None

    @property
    def need(self) -> TrunkNeed: ...
    @property
    def helpers(self) -> dict[str, Helper]: ...
    @property
    def tokens_key(self) -> Hashable: ...
    @property
    def logits_key(self) -> Hashable: ...
    def batch_of_windows(self, device: torch.device) -> int: ...
    def tokens(self, trunk: Trunk) -> Tensor: ...
    def patch_logits(self, tokens: Tensor, trunk: Trunk) -> tuple[Tensor, Sequence[object]]: ...
    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[object],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, object],
    ) -> PixelLogits: ...
    def rgb(self, images: Tensor) -> Tensor: ...
    def prepared(self, image: Tensor) -> Tensor: ...
    def decide(self, logits: Logits) -> Tensor: ...
    @property
    def decides_together(self) -> bool: ...


def patch_logits(
    members: Sequence[Member],
    keys: Sequence[tuple[Hashable, Hashable]],
    images: Tensor,
    regions: Mapping[Helper, Tensor],
) -> dict[Hashable, tuple[Tensor, Sequence[object]]]:
    """Patch logits of windows (N, 3, H, W) after one pass of the trunk.

    Args:
        keys: ``tokens_key`` and ``logits_key`` of each member as they were before the first window: a method may keep
            things in itself on the way.
        regions: ids (N, H, W) of the windows, by the helper that they are of.

    Returns:
        by ``logits_key``, the logits (N, Q, h, w) in fp32 and the method's notes on each window.
    """
    backbone = members[0].backbone
    with STOPWATCH.stage('trunk', backbone.device):
        trunks = backbone.trunks(images, [member.need for member in members])
    trunks[0].of_images.update({(helper, 'regions'): ids for helper, ids in regions.items()})
    tokens, logits = {}, {}
    for member, (of_tokens, key), trunk in zip(members, keys, trunks, strict=True):
        if key not in logits:
            if of_tokens not in tokens:
                tokens[of_tokens] = member.tokens(trunk)
            logits[key] = member.patch_logits(tokens[of_tokens], trunk)
    return logits


@torch.no_grad()
def pixel_logits(
    members: Sequence[Member],
    images: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    tell: Callable[[float], None] = lambda share: None,
    paths: Sequence[str | None] | None = None,
    originals: Sequence[np.ndarray | None] | None = None,
) -> list[list[Logits]]:
    """Logits of images at the original ``sizes``, refined where a member's config says so; a list for each member.

    All windows of one size, of all images, share the batches of the backbone; members with the same windows share
    the trunk.

    Args:
        members: methods; those that own one and the same backbone share it.
        images: (3, H, W) each, of any sizes, normalized.
        sizes: (H, W) of the original images.
        tell: told of each part of the windows, over all members, that is done; the parts add up to 1.
        paths: files of the original images, where they are known: region maps are of these.
        originals: (H, W, 3) RGB uint8, the original images where they have been read: region maps are of these, then.
    """
    results: list[list[Logits]] = [[] for _ in members]
    near: dict[Hashable, list[object]] = {}
    paths = [None] * len(images) if paths is None else paths
    originals = [None] * len(images) if originals is None else originals
    whole: dict[Helper, list[object]] = {}
    for member in members:
        for helper in (member.helpers[name] for name in WHOLE if name in member.helpers):
            if helper not in whole:
                with STOPWATCH.stage('helper', member.backbone.device):
                    of_images = zip(map(member.rgb, images), sizes, paths, map(_pixels, originals), strict=True)
                    whole[helper] = [helper.of_image(*of_image) for of_image in of_images]
    alike: dict[tuple, list[int]] = defaultdict(list)
    for index, member in enumerate(members):
        windows = (member.window, member.stride, member.window_batch, member.whole_patches)
        alike[(id(member.backbone), *windows)].append(index)
    for indices in alike.values():
        group = [members[index] for index in indices]
        of_group = _pixel_logits_of_like(group, images, sizes, near, whole, lambda share: tell(share / len(alike)))
        for index, logits in zip(indices, of_group, strict=True):
            results[index] = logits
    return results


def _pixel_logits_of_like(
    members: Sequence[Member],
    images: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    near: dict[Hashable, list[object]],
    whole: Mapping[Helper, Sequence[object]],
    tell: Callable[[float], None],
) -> list[list[Logits]]:
    """What :func:`pixel_logits` says, of members with like windows; ``near`` collects what refinements know."""
    first = members[0]
    device, batch = first.backbone.device, first.batch_of_windows(first.backbone.device)
    images = [first.prepared(image) for image in images]
    layouts = [Windows.over(tuple(image.shape[-2:]), first.window, first.stride) for image in images]
    # Windows are views of their images until their batch.
    crops = [crop for image, windows in zip(images, layouts, strict=True) for crop in windows.crop(image)]
    crops_of_maps = {
        helper: [
            ids
            for regions, image, windows in zip(of_images, images, layouts, strict=True)
            for (ids,) in windows.crop(_nearest(regions, tuple(image.shape[1:])))
        ]
        for helper, of_images in whole.items()
        if isinstance(of_images[0], Tensor)
    }
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, crop in enumerate(crops):
        by_shape[tuple(crop.shape)].append(index)

    both = [(member.tokens_key, member.logits_key) for member in members]
    keys = [key for _, key in both]
    of_windows: dict[Hashable, list] = {key: [None] * len(crops) for key in keys}
    for indices in by_shape.values():
        # As few batches as can be, and of like size: a small last one would cost as much as a large one.
        for chunk in torch.tensor(indices).tensor_split(-(-len(indices) // batch)):
            chunk = chunk.tolist()
            with STOPWATCH.stage('trunk', device):
                crops_together = torch.stack([crops[index] for index in chunk])
            regions = {helper: torch.stack([ids[index] for index in chunk]) for helper, ids in crops_of_maps.items()}
            for key, out in patch_logits(members, both, crops_together, regions).items():
                for index, *logits_and_note in zip(chunk, *out, strict=True):
                    of_windows[key][index] = logits_and_note
            tell(len(chunk) / len(crops))

    of_images: dict[Hashable, list[PixelLogits]] = defaultdict(list)
    for key, of_crops in of_windows.items():
        first_window, member = 0, members[keys.index(key)]
        for index, (image, windows, size) in enumerate(zip(images, layouts, sizes, strict=True)):
            logits, notes = zip(*of_crops[first_window : first_window + len(windows)], strict=True)
            logits = torch.stack(logits)
            own = {name: whole[helper][index] for name, helper in member.helpers.items() if helper in whole}
            of_images[key].append(member.image_logits(logits, notes, windows, tuple(size), image, own))
            first_window += len(windows)
    results: list[list[Logits]] = []
    refined: dict[Hashable, list[Logits]] = {}
    for member, key in zip(members, keys, strict=True):
        logits, refine = of_images[key], member.refine
        if (key, refine) in refined:
            logits = refined[key, refine]
        elif refine is not None:
            with STOPWATCH.stage('refine', device):
                # Without what else may be beside them, a mask.
                colors = [image[:3] for image in images]
                # Of other colors where images are rounded up to whole patches.
                known = refine.image_key, first.whole_patches
                if known not in near:
                    of_sizes = zip(colors, sizes, strict=True)
                    near[known] = [refine.neighborhood(image, tuple(size)) for image, size in of_sizes]
                logits = refined[key, refine] = list(map(refine, logits, colors, near[known]))
        results.append(logits)
    return results


@torch.no_grad()
def segment(
    members: Sequence[Member],
    images: Sequence[Tensor],
    samples: Sequence[SegDataSample],
    tell: Callable[[float], None] = lambda share: None,
    look: Callable[[int, int, Logits], None] | None = None,
) -> list[list[Tensor]]:
    """Segment images: labels (H, W) int16 of each at its original size; a list for each member.

    Args:
        members, images, tell: see :func:`pixel_logits`.
        samples: say the original sizes, and what the images are called; the originals themselves, where they are read.
        look: shown each member's logits of each image, by their places, once its labels are decided.

    Raises:
        BenchError: an image is smaller than a patch, a logit is not finite, or memory ran out; says of which image, and
            which setting to change.
    """
    sizes = [tuple(sample.ori_shape[:2]) for sample in samples]
    paths = [sample.get('img_path') for sample in samples]
    originals = [sample.get('original') for sample in samples]
    patch = max(member.backbone.patch for member in members)
    for image, sample, size in zip(images, samples, sizes, strict=True):
        height, width = image.shape[-2:]
        if min(height, width) < patch:
            raise BenchError(
                f'{_name(sample)} is {size[0]} x {size[1]} pixels and {height} x {width} when resized, smaller than a '
                f'patch of {patch}; leave it out of the list, or resize to more in the pipeline'
            )
    try:
        of_members = pixel_logits(members, images, sizes, tell, paths, originals)
        groups = _groups(images, sizes, of_members) if look is None else ([index] for index in range(len(images)))
        labels: list[list[Tensor]] = [[None] * len(images) for _ in members]
        places, broken = [], []
        for place, indices, decided in _decided(members, of_members, groups):
            decided = decided.short()
            places += indices
            broken.append((decided == NOT_FINITE).flatten(1).any(1))
            for index, label in zip(indices, decided, strict=True):
                labels[place][index] = label
                if look is not None:
                    look(place, index, of_members[place][index])
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        refined = any(member.refine for member in members)
        raise BenchError(
            f'out of memory at {", ".join(map(_name, samples))}; lower model.window_batch, test_dataloader.batch_size'
            f'{" or model.refine.query_chunk" if refined else ""} (they change no result but by rounding)'
        ) from None
    # The one wait for the device in a batch.
    for index, bad in zip(places, torch.cat(broken).tolist(), strict=True):
        if bad:
            sample = samples[index]
            raise BenchError(
                f'the logits of {_name(sample)} are not finite (NaN or infinite); check the weights '
                f'"{members[0].backbone.weights_name}", or set model.backbone.precision to fp32 or bf16'
            )
    return labels


def _groups(
    images: Sequence[Tensor], sizes: Sequence[tuple[int, int]], of_members: Sequence[Sequence[Logits]]
) -> Iterator[list[int]]:
    """Places of images that may be decided together: of one size, and no more than one block of logits holds."""
    device = images[0].device
    if device.type in ONE_BY_ONE:
        yield from ([index] for index in range(len(images)))
        return
    alike: dict[tuple, list[int]] = defaultdict(list)
    for index, (image, size) in enumerate(zip(images, sizes, strict=True)):
        alike[tuple(image.shape), size].append(index)
    queries = max(logits[0].queries for logits in of_members)
    for (_, (height, width)), indices in alike.items():
        most = max(1, block_elements(device) // (queries * height * width))
        yield from (indices[first : first + most] for first in range(0, len(indices), most))


def _decided(
    members: Sequence[Member], of_members: Sequence[list[Logits]], groups: Iterable[list[int]]
) -> Iterator[tuple[int, list[int], Tensor]]:
    """A member's place, images' places, and their labels (n, H, W): of a group, or of one image, as the member can.

    Group by group, and each group's logits are let go behind it, so that what members share is gone before the next.
    """
    for group in groups:
        for place, (member, logits) in enumerate(zip(members, of_members, strict=True)):
            some = [logits[index] for index in group]
            if len(group) > 1 and member.decides_together:
                # Kept with the first of them, for other members with the same logits.
                together = some[0].once('together', partial(PixelLogits.together, some))
                yield place, group, member.decide(together)
            else:
                for index, one in zip(group, some, strict=True):
                    yield place, [index], member.decide(one)[None]
        for logits in of_members:
            for index in group:
                logits[index] = None


def _nearest(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """A region map (H, W) at another size, (1, h, w); in fp64, where every id has a value of its own."""
    return F.interpolate(regions[None, None].double(), size=size, mode='nearest')[0].long()


def _pixels(original: np.ndarray | None) -> Tensor | None:
    """An original image (H, W, 3) as helpers take it: (3, H, W) in 0..1."""
    return None if original is None else torch.from_numpy(np.ascontiguousarray(original)).permute(2, 0, 1) / 255


def _name(sample: SegDataSample) -> str:
    return str(sample.metainfo.get('img_path', 'an image'))
