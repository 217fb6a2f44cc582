"""Which patches the ground truth puts together (CLIPtrase, Table 4: "j in GT")."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Trunk
from ...errors import BenchError


def patch_labels(trunk: Trunk, patch: int) -> Tensor:
    """Read the label in the middle of each patch, (N, h * w), from the mask beside the windows.

    Raises:
        BenchError: there is none.
    """
    if trunk.beside is None or not trunk.beside.shape[1]:
        raise BenchError(
            "CLIPtrase: within='truth' needs the mask beside the image; put dict(type='MaskBesideImage') before "
            'PackSegInputs in test_dataloader.dataset.pipeline'
        )
    rows, columns = trunk.grid
    return trunk.beside[:, 0, patch // 2 :: patch, patch // 2 :: patch][:, :rows, :columns].flatten(1)


def pairs_within(labels: Tensor) -> Tensor:
    """Tell which token sees which, (N, 1 + h * w, 1 + h * w) bool: patches those of their label, [CLS] all.

    Args:
        labels: (N, h * w).
    """
    same = labels[:, :, None] == labels[:, None]
    seen = F.pad(same, (1, 0, 1, 0))
    return seen.index_fill(1, torch.zeros(1, dtype=torch.long, device=labels.device), True)
