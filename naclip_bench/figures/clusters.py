"""CLIPtrase's clusters of patches, with and without denoising (its Fig. 5 and 10). The whole image is one window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from ..backbones import FrozenCLIP
from ..errors import BenchError
from ..evaluation.overlay import mixed
from ..methods.cliptrase import CLIPtrase
from ..methods.cliptrase.regions import cluster_maps, regions
from ..methods.cliptrase.regions import clusters as dbscan
from ..palette import distinct_colors
from .canvas import COLORS, bare, below, new_figure
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .canvas import Figure

PANEL = 2.2


@dataclass
class Clusters:
    """Clusters of one image.

    Attributes:
        patches: (h, w) the cluster of each patch, -1 for noise.
        pixels: (H, W) the cluster whose map is the highest; -1 everywhere where all patches are noise.
        count: how many there are.
    """

    patches: np.ndarray
    pixels: np.ndarray
    count: int


@torch.no_grad()
def clusters(picture: Picture, member: CLIPtrase, denoise: bool) -> Clusters:
    """Cluster an image's patches as the method does, denoised or not.

    Raises:
        BenchError: a method that is not CLIPtrase with clustering.
    """
    if not isinstance(member, CLIPtrase) or not member.cluster:
        raise BenchError("clusters are CLIPtrase's; name such a method, with clustering")
    trunk = member.backbone.trunks(normalized(picture, member), [member.need])[0]
    correlations = member.correlations(trunk)[0].cpu()
    weights = correlations[1:, 1:]
    if denoise:
        weights = (weights - correlations[:1, 1:]).relu()
    points = weights
    if member.cluster == 'features':
        points = F.normalize(member.tokens(trunk)[0, 1:], dim=-1).cpu()
    found = dbscan(points, member.eps, member.min_samples)
    maps = cluster_maps(found, weights, trunk.grid)
    size = tuple(picture.image.shape[:2])
    pixels = regions(maps, size) if len(maps) else torch.full(size, -1)
    return Clusters(found.unflatten(0, trunk.grid).numpy(), pixels.numpy(), len(maps))


def draw_clusters(found: Sequence[tuple[Picture, Clusters, Clusters]], member: CLIPtrase) -> Figure:
    """A row for each image: itself, its mask where it has one, and patches and regions without and with denoising.

    Args:
        found: an image, its clusters without denoising, and with it.
        member: the method.
    """
    clip: FrozenCLIP = member.backbone
    with_truth = any(picture.truth is not None for picture, _, _ in found)
    columns = 5 + with_truth
    shapes = [picture.image.shape[0] / picture.image.shape[1] for picture, _, _ in found]
    size = (PANEL * columns, 0.5 + sum(PANEL * shape + 0.2 for shape in shapes))
    title = f'CLIPtrase, clusters of patches (eps {member.eps:g}, min_samples {member.min_samples}; noise is gray)'
    title += f'; {weights_of(clip)}'
    figure = new_figure(*size, title, clip.random_weights)
    axes = figure.subplots(len(found), columns, squeeze=False, height_ratios=shapes)
    for place, (row, (picture, plain, denoised)) in enumerate(zip(axes, found, strict=True)):
        panels = [('image', picture.image, picture.name)]
        if with_truth:
            panels.append(('ground truth', _colored(picture.image, _truth(picture)), ''))
        for how, of in (('', plain), (', denoised', denoised)):
            note = f'{of.count} cluster{"s" * (of.count != 1)}, {(of.patches < 0).sum()} noise'
            patches = _upsampled(picture, of.patches, clip.patch)
            panels.append((f'patches{how}', _colored(picture.image, patches), note))
            panels.append((f'regions{how}', _colored(picture.image, of.pixels), ''))
        for axis, (name, panel, note) in zip(row, panels, strict=True):
            bare(axis, panel, name if place == 0 else '')
            below(axis, note)
    return figure


def _truth(picture: Picture) -> np.ndarray:
    """The mask's classes, counted from 0 as they occur; -1 where a pixel is not scored."""
    if picture.truth is None:
        return np.full(picture.image.shape[:2], -1)
    known = np.unique(picture.truth[picture.truth != picture.ignore_index])
    labels = np.searchsorted(known, picture.truth).astype(np.int64)
    labels[picture.truth == picture.ignore_index] = -1
    return labels


def _upsampled(picture: Picture, patches: np.ndarray, patch: int) -> np.ndarray:
    """Patches (h, w) at the image's size; what no whole patch covers is -1."""
    height, width = picture.image.shape[:2]
    patch_height, patch_width = picture.patch_size(patch)
    rows, columns = ((np.arange(n) + 0.5) // side for n, side in ((height, patch_height), (width, patch_width)))
    inside = (rows[:, None] < patches.shape[0]) & (columns < patches.shape[1])
    rows, columns = (np.minimum(at, n - 1).astype(int) for at, n in zip((rows, columns), patches.shape, strict=True))
    return np.where(inside, patches[rows[:, None], columns], -1)


def _colored(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Clusters in their colors over a gray image; noise stays gray."""
    count = int(labels.max()) + 1
    if count <= len(COLORS) - 1:
        colors = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in COLORS[:-1]], np.uint8)
    else:
        colors = distinct_colors(count)
    out = np.repeat(image.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    shown = labels >= 0
    out[shown] = mixed(out[shown], colors[labels[shown]])
    return out
