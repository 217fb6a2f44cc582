"""Which patches the ground truth puts together (CLIPtrase, Table 4: "j in GT")."""

from __future__ import annotations

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


def pairs_within(labels: Tensor, prefix: int = 1) -> Tensor:
    """Tell which token sees which, (N, prefix + h * w, prefix + h * w) bool: patches those of their label, [CLS] all.

    Args:
        labels: (N, h * w).
        prefix: how many tokens stand before the patches.
    """
    same = labels[:, :, None] == labels[:, None]
    return F.pad(F.pad(same, (prefix, 0)), (0, 0, prefix, 0), value=True)
