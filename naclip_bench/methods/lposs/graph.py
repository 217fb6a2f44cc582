"""The graph over all patches of an image (LPOSS, sec. 3); that over pixels is in ``inference/propagation.py``."""

from __future__ import annotations

import torch
from torch import Tensor

from ...inference.propagation import inverse_root, without_warnings

#: Nodes whose neighbors are sought at once.
ROWS = 1024


def node_graph(features: Tensor, places: Tensor, neighbors: int, gamma: float, sigma: float) -> Tensor:
    """Weights of the graph over all patches of an image (eqs. 3 to 5): S = D^-1/2 W D^-1/2.

    Args:
        features: (n, C) of unit length.
        places: (n, 2) centers in pixels of the resized image.
        neighbors: how many nodes of most similar features each has, itself among them.
        gamma: power of the similarities.
        sigma: how fast weights fall with distance, a pixel.

    Returns:
        (n, n) sparse CSR in fp64, symmetric, with an empty diagonal.
    """
    count = len(features)
    weights = features.new_zeros(count, count)
    for first in range(0, count, ROWS):
        rows = slice(first, first + ROWS)
        similar, columns = (features[rows] @ features.T).topk(min(neighbors, count), dim=1, sorted=False)
        distance = (places[rows, None] - places[columns]).norm(dim=-1)
        weights[rows].scatter_(1, columns, similar.clamp(min=0) ** gamma * torch.exp(-sigma * distance))
    weights = weights + weights.T
    weights.fill_diagonal_(0)
    scale = inverse_root(weights.sum(1))
    weights.mul_(scale[:, None]).mul_(scale)
    with without_warnings():
        return weights.double().to_sparse_csr()
