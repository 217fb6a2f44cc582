"""Images through one frozen CLIP, for one method or for several: windows and trunk are run once for all of them.

A method on its own goes the same way, as the only member, so that shared and separate runs are equal to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import BenchError, is_out_of_memory
from ..timing import STOPWATCH
from .decide import NOT_FINITE
from .pamr import Neighborhood, RefinedLogits
from .stitch import PixelLogits
from .windows import Windows

if TYPE_CHECKING:
    from mmseg.structures import SegDataSample

    from ..methods.base import TrainingFreeSegmentor

Logits = PixelLogits | RefinedLogits


def patch_logits(
    members: Sequence[TrainingFreeSegmentor], images: Tensor
) -> dict[Hashable, tuple[Tensor, Sequence[object]]]:
    """Patch logits of windows (N, 3, H, W) after one pass of the trunk.

    Returns:
        by ``logits_key``, the logits (N, Q, h, w) in fp32 and the method's notes on each window.
    """
    backbone = members[0].backbone
    with STOPWATCH.stage('trunk', backbone.device):
        trunks = backbone.trunks(images, [member.need for member in members])
    tokens, logits = {}, {}
    for member, trunk in zip(members, trunks, strict=True):
        if member.logits_key in logits:
            continue
        text = member.text[0]
        if member.tokens_key not in tokens:
            with STOPWATCH.stage('method', backbone.device):
                tokens[member.tokens_key] = member.dense_tokens(trunk).float()
        with STOPWATCH.stage('stitch+decide', backbone.device):
            matched = member.match(tokens[member.tokens_key], text, trunk)
            patches = matched.transpose(1, 2).unflatten(2, trunk.grid)
            logits[member.logits_key] = patches, member.notes(tokens[member.tokens_key], trunk)
    return logits


@torch.no_grad()
def pixel_logits(
    members: Sequence[TrainingFreeSegmentor], images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[list[Logits]]:
    """Logits of images at the original ``sizes``, refined where a member's config says so; a list for each member.

    All windows of one size, of all images, share the batches of the backbone; members with the same windows share
    the trunk.

    Args:
        members: methods that own one and the same backbone.
        images: (3, H, W) each, of any sizes, normalized.
        sizes: (H, W) of the original images.
    """
    results: list[list[Logits]] = [[] for _ in members]
    near: dict[Hashable, list[Neighborhood]] = {}
    alike: dict[tuple, list[int]] = defaultdict(list)
    for index, member in enumerate(members):
        alike[member.window, member.stride, member.window_batch].append(index)
    for indices in alike.values():
        group = [members[index] for index in indices]
        for index, logits in zip(indices, _pixel_logits_of_like(group, images, sizes, near), strict=True):
            results[index] = logits
    return results


def _pixel_logits_of_like(
    members: Sequence[TrainingFreeSegmentor],
    images: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    near: dict[Hashable, list[Neighborhood]],
) -> list[list[Logits]]:
    """What :func:`pixel_logits` says, of members with like windows; ``near`` collects what refinements know."""
    first = members[0]
    device, batch = first.backbone.device, first.batch_of_windows(first.backbone.device)
    layouts = [Windows.over(tuple(image.shape[-2:]), first.window, first.stride) for image in images]
    # Windows are views of their images until their batch.
    crops = [crop for image, windows in zip(images, layouts, strict=True) for crop in windows.crop(image)]
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, crop in enumerate(crops):
        by_shape[tuple(crop.shape)].append(index)

    of_windows: dict[Hashable, list] = {member.logits_key: [None] * len(crops) for member in members}
    for indices in by_shape.values():
        # As few batches as can be, and of like size: a small last one would cost as much as a large one.
        for chunk in torch.tensor(indices).tensor_split(-(-len(indices) // batch)):
            chunk = chunk.tolist()
            with STOPWATCH.stage('trunk', device):
                crops_together = torch.stack([crops[index] for index in chunk])
            for key, out in patch_logits(members, crops_together).items():
                for index, *logits_and_note in zip(chunk, *out, strict=True):
                    of_windows[key][index] = logits_and_note

    of_images: dict[Hashable, list[PixelLogits]] = defaultdict(list)
    for key, of_crops in of_windows.items():
        first_window = 0
        for windows, size in zip(layouts, sizes, strict=True):
            with STOPWATCH.stage('stitch+decide', device):
                logits, notes = zip(*of_crops[first_window : first_window + len(windows)], strict=True)
                of_images[key].append(PixelLogits(torch.stack(logits), windows, tuple(size), notes))
            first_window += len(windows)
    results: list[list[Logits]] = []
    for member in members:
        logits, refine = of_images[member.logits_key], member.refine
        if refine is not None:
            with STOPWATCH.stage('refine', device):
                if refine.dilations not in near:
                    of_sizes = zip(images, sizes, strict=True)
                    near[refine.dilations] = [refine.neighborhood(image, tuple(size)) for image, size in of_sizes]
                logits = list(map(refine, logits, images, near[refine.dilations]))
        results.append(logits)
    return results


@torch.no_grad()
def segment(
    members: Sequence[TrainingFreeSegmentor], images: Sequence[Tensor], samples: Sequence[SegDataSample]
) -> list[list[Tensor]]:
    """Labels (H, W) int64 of every image at its original size; a list for each member.

    Raises:
        BenchError: a logit is not finite, or memory ran out; says of which image, or which setting to lower.
    """
    sizes = [tuple(sample.ori_shape[:2]) for sample in samples]
    try:
        labels = [
            [member.decide(logits) for logits in of_member]
            for member, of_member in zip(members, pixel_logits(members, images, sizes), strict=True)
        ]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        refined = any(member.refine for member in members)
        raise BenchError(
            'out of memory; lower model.window_batch, test_dataloader.batch_size'
            f'{" or model.refine.query_chunk" if refined else ""} (they change no result but by rounding)'
        ) from None
    # The one wait for the device in a batch.
    broken = torch.stack([(label == NOT_FINITE).any() for of_member in labels for label in of_member]).tolist()
    for index, bad in enumerate(broken):
        if bad:
            sample = samples[index % len(samples)]
            raise BenchError(
                f'the logits of {sample.metainfo.get("img_path", "an image")} are not finite (NaN or infinite); '
                f'check the weights "{members[0].backbone.weights_name}", or use --precision fp32 or bf16'
            )
    return labels
