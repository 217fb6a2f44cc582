"""NACLIP's Gaussian and how it makes an attention map (its Fig. 2 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..backbones import FrozenCLIP
from ..methods.last_block import gaussian_neighborhood
from ..methods.naclip import NACLIP
from .canvas import COLORS, HEAT, TEXT, bare, below, heat, label, mark, new_figure
from .picture import Picture, normalized, weights_of

if TYPE_CHECKING:
    from .canvas import Figure

#: Thresholds of NACLIP's Table 5, and the one of its Fig. 4.
TAUS, TAU = (0.7, 0.8, 0.9), 0.8

#: How much of the plane is shown around the patch, in deviations.
AROUND = 3

PANEL = 2.2


@dataclass
class Gaussian:
    """A patch's omega, and the parts of its attention over an image.

    Attributes:
        sigma: standard deviation in patches.
        omega: (n, n) around the patch in the middle, n odd.
        picture: what was looked at.
        point: (x, y) in its pixels.
        parts: maps (h, w) by title: logits of CLIP and NACLIP, and the weights they give, the mean over heads.
        grid: (h, w).
        clip: the weights.
    """

    sigma: float
    omega: np.ndarray
    picture: Picture
    point: tuple[int, int]
    parts: dict[str, Tensor]
    grid: tuple[int, int]
    clip: FrozenCLIP


def radius(sigma: float, tau: float) -> float:
    """Compute how far from a patch its logits are raised by more than ``tau``, in patches (eq. 20)."""
    return sigma * math.sqrt(-2 * math.log(tau))


def omega_around(sigma: float) -> np.ndarray:
    """Compute omega (eq. 10 and 11) of the middle of an odd square of patches, (n, n)."""
    half = math.ceil(AROUND * sigma)
    side = 2 * half + 1
    full = gaussian_neighborhood((side, side), sigma, torch.float32, torch.device('cpu'))
    return full[1 + half * side + half, 1:].view(side, side).numpy()


@torch.no_grad()
def gaussian(picture: Picture, member: NACLIP, point: tuple[int, int]) -> Gaussian:
    """NACLIP's Gaussian, and what it does to one patch's attention (eq. 15).

    Raises:
        BenchError: the point lies outside the image.
    """
    picture.check([point])
    clip = member.backbone
    trunk = clip.trunks(normalized(picture, member), [member.need])[0]
    query, key, _ = clip.blocks[-1].qkv(member.tokens_before_last_block(trunk), trunk.rotation)
    scale = query.shape[-1] ** -0.5
    query, key = query.float(), key.float()
    of = 1 + picture.patch_at(point, trunk.grid, clip.patch)
    omega = gaussian_neighborhood(trunk.grid, member.sigma, key.dtype, key.device)[of]
    own, keys = (of_patch[0, :, of] for of_patch in (query @ key.mT * scale, key @ key.mT * scale))
    rows = {
        'q k / √d': own.mean(0),
        'softmax (CLIP)': own.softmax(-1).mean(0),
        'k k / √d': keys.mean(0),
        'omega': omega,
        'k k / √d + omega': keys.mean(0) + omega,
        'softmax (NACLIP)': (keys + omega).softmax(-1).mean(0),
    }
    parts = {title: row[1:].unflatten(0, trunk.grid).cpu() for title, row in rows.items()}
    return Gaussian(member.sigma, omega_around(member.sigma), picture, point, parts, trunk.grid, clip)


def draw_gaussian(seen: Gaussian) -> Figure:
    """Above, omega with the circle of eq. 20 and its profile; below, the parts of one patch's attention."""
    picture, clip, sigma = seen.picture, seen.clip, seen.sigma
    height, width = picture.image.shape[:2]
    columns = 1 + len(seen.parts)
    lower = PANEL * height / width + 0.4
    title = f"NACLIP's Gaussian, sigma {sigma:g} patches: {picture.name}; {weights_of(clip)}"
    figure = new_figure(PANEL * columns, 3.6 + lower, title, clip.random_weights)
    above, under = figure.subfigures(2, 1, height_ratios=(3.1, lower))
    plane, profile = above.subplots(1, 2, width_ratios=(1, 2))
    half = len(seen.omega) // 2
    shown = plane.imshow(seen.omega, HEAT, vmin=0, vmax=1, extent=(-half - 0.5, half + 0.5, half + 0.5, -half - 0.5))
    bar = above.colorbar(shown, ax=plane)
    bar.set_label('added to the logit', fontsize=TEXT)
    bar.ax.tick_params(labelsize=8)
    angle = np.linspace(0, 2 * np.pi, 200)
    reach = radius(sigma, TAU)
    plane.plot(reach * np.cos(angle), reach * np.sin(angle), color='cyan', linewidth=1.5)
    count = int((seen.omega > TAU).sum())
    ticks = range(-half + half % 3, half + 1, max(half // 3, 1))
    plane.set(xticks=ticks, yticks=ticks)
    label(plane, f'circle: raised by more than {TAU} ({count} patches)', 'patches', 'patches')
    distance = np.linspace(0, AROUND * sigma, 300)
    profile.plot(distance, np.exp(-(distance**2) / (2 * sigma**2)), color='black', linewidth=1.8)
    for tau, color in zip(TAUS, COLORS, strict=False):
        reach, above_tau = radius(sigma, tau), int((seen.omega > tau).sum())
        profile.plot([0, reach, reach], [tau, tau, 0], color=color, linestyle='--', linewidth=1.2)
        profile.plot(
            reach,
            tau,
            'o',
            color=color,
            markersize=5,
            label=f'more than {tau}: {above_tau} patches, those nearer than {reach:.2f}',
        )
    profile.legend(fontsize=8, frameon=False)
    profile.set(xlim=(0, AROUND * sigma), ylim=(0, 1.05))
    label(profile, 'exp(-d² / 2 sigma²)', 'distance d from the patch (patches)', 'added to the logit')
    axes = under.subplots(1, columns)
    bare(axes[0], picture.image, 'image')
    mark(axes[0], *seen.point)
    extent = picture.seen(seen.grid, clip.patch)
    for axis, (name, part) in zip(axes[1:], seen.parts.items(), strict=True):
        values = part.numpy()
        if name.startswith('softmax'):
            heat(axis, picture.image, values, extent)
            below(axis, f'0 to {100 * values.max():.3g} %')
        elif name == 'omega':
            heat(axis, picture.image, values, extent, (0, 1))
            below(axis, '0 to 1')
        else:
            heat(axis, picture.image, values, extent, (float(values.min()), float(values.max())))
            below(axis, f'{values.min():.2f} to {values.max():.2f}')
        axis.set_title(name, fontsize=TEXT)
        mark(axis, *seen.point)
    return figure
