"""What GCLIP found in CLIP's weights, in one's own (its Fig. 1b and 3): norms of the feed-forward networks' output
channels and their entropy, what their suppression does to values, and the block where global tokens emerge.

Blocks count from 0, as in the paper. The paper does not say which entropy it prints (0.96 for block 5, 0.09 for block
9). Here it is that of softmax(norms), divided by its highest, log of the channels: one channel that stands out by ten
among hundreds takes it from near 1 to near 0, as printed; that of norms / sum of norms would hardly move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP
from ..backbones.blocks import QUICK_GELU
from ..errors import BenchError
from ..inference.windows import Windows
from ..methods.gclip import GCLIP, has_global_token
from .canvas import COLORS, SMALL, label, new_figure
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from .canvas import Figure

#: Pairs of patches whose values are compared.
PAIRS = ('in-in', 'in-out')


@dataclass
class Norms:
    """What :func:`norms` found.

    Attributes:
        of_channels: (blocks, D) norms of the second layer's output channels.
        entropies: (blocks) from 0 to 1.
        similarity: mean cosine of the last block's values, (plain and suppressed, pairs within a class and across).
        emerging: how many windows have their first global token in each block; behind them, those that have none.
        suppressed_from: the first block whose channel is suppressed.
        about: what the images are called, and how many windows they have.
        clip: the weights.
    """

    of_channels: Tensor
    entropies: Tensor
    similarity: np.ndarray
    emerging: np.ndarray
    suppressed_from: int
    about: str
    clip: FrozenCLIP


def channel_norms(clip: FrozenCLIP) -> Tensor:
    """Compute N_d of eq. 6 for every block, (blocks, D), of the weights as they were trained."""
    # QuickGELU's constant was divided out of the layer.
    return torch.stack(
        [
            block.last_layer.weight.float().norm(dim=1) * (QUICK_GELU if getattr(block, 'silu', False) else 1)
            for block in clip.blocks
        ]
    ).cpu()


def entropy(norms: Tensor) -> Tensor:
    """Entropy of softmax(norms) over the last dimension, 1 for equal norms."""
    logs = norms.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1) / math.log(norms.shape[-1])


def pair_similarity(values: Tensor, labels: Tensor) -> Tensor:
    """Sum and count of the cosines of pairs of patches, (2, 2): within a class and across; of sums, then counts.

    Args:
        values: (T, D).
        labels: (T,) a class, or -1 for patches that are left out.
    """
    values, labels = values[labels >= 0], labels[labels >= 0]
    cosines = F.normalize(values, dim=-1) @ F.normalize(values, dim=-1).T
    same = labels[:, None] == labels
    others = ~torch.eye(len(labels), dtype=torch.bool)
    pairs = torch.stack([same & others, ~same]).double()
    return torch.stack([(pairs * cosines).sum((1, 2)), pairs.sum((1, 2))])


@torch.no_grad()
def norms(pictures: Sequence[Picture], member: GCLIP) -> Norms:
    """Look into weights, and at windows of images with masks.

    A patch has the class of its middle.

    Raises:
        BenchError: a method that is not GCLIP with suppression, or an image without a mask.
    """
    if not isinstance(member, GCLIP) or member.suppress_from is None:
        raise BenchError('norms are looked at with GCLIP, with channel suppression; name such a method')
    clip = member.backbone
    blocks, patch = len(clip.blocks), clip.patch
    sums, emerging = torch.zeros(2, 2, 2, dtype=torch.double), np.zeros(blocks + 1, np.int64)
    for picture in pictures:
        if picture.truth is None:
            raise BenchError(f'{picture.name} has no mask, without which nothing is inside or outside')
        whole = normalized(picture, member)[0]
        height, width = whole.shape[1:]
        truth = np.where(picture.truth == picture.ignore_index, -1, picture.truth).astype(np.int32)
        truth = torch.from_numpy(cv2.resize(truth, (width, height), interpolation=cv2.INTER_NEAREST))
        windows = Windows.over((height, width), member.window, member.stride)
        for crop, own in zip(windows.crop(whole), windows.crop(truth[None]), strict=True):
            trunk = clip.trunks(crop[None], [member.need])[0]
            rows, columns = trunk.grid
            labels = own[0, patch // 2 :: patch, patch // 2 :: patch][:rows, :columns].flatten()
            inputs, second = member.paths(trunk)
            for which, tokens in enumerate((inputs[-1], second)):
                value = clip.blocks[-1].qkv(tokens, trunk.rotation)[2].transpose(1, 2).flatten(2)[0, 1:].float().cpu()
                sums[which] += pair_similarity(value, labels)
            maps = clip.trunk(crop[None], blocks, attention=range(blocks)).attention.values()
            found = [bool(has_global_token(of_block.float(), member.sigma)) for of_block in maps]
            emerging[found.index(True) if True in found else blocks] += 1
    channels = channel_norms(clip)
    count = int(emerging.sum())
    first = pictures[0].name.split()[0]
    about = f'{len(pictures)} image{"s" * (len(pictures) > 1)} of {first}, {count} windows'
    similarity = (sums[:, 0] / sums[:, 1]).numpy()
    return Norms(channels, entropy(channels), similarity, emerging, member.suppress_from, about, clip)


def draw_norms(found: Norms) -> Figure:
    """Entropy, similarity and emerging block above; the norms of every block's channels below."""
    clip, (blocks, channels) = found.clip, found.of_channels.shape
    columns = min(blocks, 6)
    rows = -(-blocks // columns)
    title = f'Weight norms and global tokens: {found.about}; {weights_of(clip)}'
    figure = new_figure(11, 3.4 + 1.7 * rows, title, clip.random_weights)
    above, below = figure.subfigures(2, 1, height_ratios=(3, 1.7 * rows))
    curve, pairs, emerging = above.subplots(1, 3)

    curve.plot(range(blocks), found.entropies, color=COLORS[0], marker='o', markersize=4)
    curve.axvline(found.suppressed_from - 0.5, color=COLORS[4], linestyle='--', linewidth=1)
    curve.annotate(
        'suppressed from here',
        (found.suppressed_from - 0.5, 0.04),
        xytext=(3, 0),
        textcoords='offset points',
        fontsize=SMALL,
        color=COLORS[4],
    )
    curve.set(ylim=(0, 1.05), xticks=range(blocks))
    label(curve, 'entropy of weight norms', 'block (from 0)', 'entropy of softmax(norms), 1 = even')

    for which, (name, color) in enumerate((('CLIP', COLORS[6]), ('suppressed', COLORS[0]))):
        bars = pairs.bar(np.arange(2) + 0.4 * which - 0.2, found.similarity[which], 0.38, color=color, label=name)
        pairs.bar_label(bars, fmt='%.2f', fontsize=SMALL, padding=1)
    pairs.set_xticks(range(2), ['in-in\n(same class)', 'in-out\n(other class)'])
    pairs.margins(y=0.3)
    pairs.legend(fontsize=SMALL, frameon=False, loc='upper right')
    label(pairs, 'similarity of last values', '', 'mean cosine of two patches')

    bars = emerging.bar(range(blocks + 1), found.emerging, color=[*[COLORS[0]] * blocks, COLORS[6]])
    emerging.bar_label(bars, [str(count) if count else '' for count in found.emerging], fontsize=SMALL, padding=1)
    emerging.set_xticks(range(blocks + 1), [*map(str, range(blocks)), 'none'])
    emerging.margins(y=0.12)
    label(emerging, 'first block with a global token', 'block (from 0)', 'windows')

    axes = below.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    for index, axis in enumerate(axes.flat):
        if index >= blocks:
            axis.set_axis_off()
            continue
        values = found.of_channels[index].numpy()
        largest = int(values.argmax())
        axis.vlines(range(channels), 0, values, color=COLORS[0], linewidth=0.6)
        axis.plot(largest, values[largest], 'o', color=COLORS[4], markersize=4)
        axis.text(
            0.98, 0.97, f'largest: channel {largest}', fontsize=SMALL, ha='right', va='top', transform=axis.transAxes
        )
        axis.set_ylim(0, 1.2 * float(found.of_channels.max()))
        first, last = index % columns == 0, index // columns == rows - 1
        label(axis, f'block {index}', 'output channel' if last else '', 'weight norm' if first else '')
    return figure
