"""Label propagation (LPOSS, sec. 3): what is said of a node is shared with its neighbors in a graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Scores that are propagated together.
COLUMNS = 64

#: Rows of pixels whose neighbors are looked at together: what a CPU's cache holds.
BAND = 8

#: Lab at its full range in each channel (the released code's).
LAB_RANGE = (100.0, 128.0, 128.0)


def pixel_graph(image: Tensor, radius: int, tau: float) -> Tensor:
    """Weights of the graph over an image's pixels (LPOSS+, eq. 8), from colors alone.

    Args:
        image: (3, H, W) RGB in 0..1.
        radius: pixels up to which others are neighbors, along each side.
        tau: difference of colors (Lab, each channel by its range) at which a weight is 1 / e.

    Returns:
        (H * W, H * W) sparse CSR in fp64, symmetric, with an empty diagonal.
    """
    height, width = image.shape[1:]
    side, count = 2 * radius + 1, height * width
    bands = [slice(top, min(top + BAND, height)) for top in range(0, height, BAND)]
    lab, inside = to_lab(image), image.new_ones(1, height, width)
    weights = torch.empty(count, side * side, device=image.device)
    for rows in bands:
        apart = _around(lab, rows, radius) - lab[:, rows, :, None]
        near = apart.square_().sum(0).sqrt_().mul_(-1 / tau).exp_()
        weights[rows.start * width : rows.stop * width] = near.mul_(_around(inside, rows, radius)[0]).flatten(0, 1)
    # A pixel itself, and what lies outside of the image, stays in the row with a weight of 0.
    weights[:, side * side // 2] = 0
    scale = inverse_root(weights.sum(1)).view(1, height, width)
    for rows in bands:
        both = _around(scale, rows, radius)[0] * scale[0, rows, :, None]
        weights[rows.start * width : rows.stop * width] *= both.flatten(0, 1)
    steps = torch.arange(-radius, radius + 1, dtype=torch.int32, device=image.device)
    offsets = (steps[:, None] * width + steps).flatten()
    pixels = torch.arange(count, dtype=torch.int32, device=image.device)
    index = (pixels[:, None] + offsets).clamp_(0, count - 1)
    begins = torch.arange(count + 1, dtype=torch.int32, device=image.device) * side * side
    with without_warnings():
        return torch.sparse_csr_tensor(begins, index.flatten(), weights.flatten().double(), (count, count))


def _around(maps: Tensor, rows: slice, radius: int) -> Tensor:
    """What lies around the pixels of some rows of maps (C, H, W), 0 outside: (C, rows, W, side * side), a view."""
    top, bottom = max(rows.start - radius, 0), min(rows.stop + radius, maps.shape[1])
    padding = (radius, radius, radius - (rows.start - top), radius - (bottom - rows.stop))
    padded = torch.nn.functional.pad(maps[:, top:bottom], padding)
    return padded.unfold(1, 2 * radius + 1, 1).unfold(2, 2 * radius + 1, 1).flatten(3)


def to_lab(image: Tensor) -> Tensor:
    """CIE Lab (D65, 2 degrees) of sRGB (3, H, W) in 0..1, each channel divided by its range."""
    linear = torch.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    matrix = image.new_tensor(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    white = image.new_tensor([0.95047, 1.0, 1.08883])
    xyz = torch.einsum('ij,jhw->ihw', matrix, linear) / white[:, None, None]
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=0) ** (1 / 3), 7.787 * xyz + 16 / 116)
    lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    return lab / lab.new_tensor(LAB_RANGE)[:, None, None]


def propagated(graph: Tensor, scores: Tensor, alpha: float, iterations: int) -> Tensor:
    """Solve (I - alpha * S) x = scores for every column, as far as ``iterations`` of conjugate gradients go.

    Args:
        graph: S, (n, n).
        scores: (n, Q).

    Returns:
        (n, Q) in fp64.
    """

    def product(x: Tensor) -> Tensor:
        return (graph @ x).mul_(-alpha).add_(x)

    # A few columns at a time, which decide nothing for each other: their vectors stay small.
    columns = scores.split(COLUMNS, dim=1)
    return torch.cat([conjugate_gradients(product, of.double().contiguous(), iterations) for of in columns], dim=1)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int, tolerance: float = 1e-6
) -> Tensor:
    """Solve ``product(x) = target`` (n, Q) from 0, each column for itself.

    A column is left as it is once its residual is at most ``tolerance`` times its target.
    """
    found, residual = torch.zeros_like(target), target.clone()
    direction, square = residual.clone(), residual.square().sum(0)
    limit = tolerance**2 * square
    for _ in range(iterations):
        going = square > limit
        if not going.any():
            break
        moved = product(direction)
        step = torch.where(going, square / (direction * moved).sum(0), 0)
        found.addcmul_(direction, step)
        residual.addcmul_(moved, step, value=-1)
        before, square = square, residual.square().sum(0)
        direction.mul_(torch.where(going, square / before, 0)).add_(residual)
    return found


def inverse_root(degrees: Tensor) -> Tensor:
    """Degrees to the power of -1/2; 0 for a node without edges."""
    return torch.where(degrees > 0, degrees.rsqrt(), 0)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without torch's note that its sparse tensors are young."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)
        yield
