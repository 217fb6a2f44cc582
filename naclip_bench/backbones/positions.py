"""Position embedding of a patch grid other than the one CLIP was trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def interpolate_positions(
    embedding: Tensor, native: tuple[int, int], grid: tuple[int, int], kind: str = 'sclip'
) -> Tensor:
    """Position embedding for ``grid``.

    - ``sclip``, the SCLIP family (SCLIP, NACLIP, ...): bicubic, no antialias, with the scale factor (side + 0.1) /
      native side. The 0.1 came from DINO as a guard against rounding, but it also moves every sampling point, so it is
      part of the method. The rows are left as they are whenever the *number* of tokens fits, even on a grid of another
      shape: so does the released code.
    - ``antialias``, GEM (as timm does): bicubic to the very size, antialiased.
    - ``bilinear``, CLIP Surgery: bilinear to the very size. Its code knows square images only; this takes any.
    - ``dino``, DINO's own code: as ``sclip``, but left as it is on the trained grid alone.
    - ``bicubic``, MAE's own code and LPOSS: bicubic to the very size, no antialias.

    Args:
        embedding: (k + native_h * native_w, width), those of the k tokens before the patches first.
        native: the grid (rows, columns) of the trained embedding.
        grid: the grid (rows, columns) of the image.
        kind: one of the above.

    Returns:
        (k + h * w, width) in float32.
    """
    embedding = embedding.float()
    same = grid == native if kind != 'sclip' else grid[0] * grid[1] == native[0] * native[1]
    if same:
        return embedding
    before, patches = embedding.tensor_split([len(embedding) - native[0] * native[1]])
    patches = patches.T.reshape(1, -1, *native)
    if kind in ('sclip', 'dino'):
        scale = tuple((side + 0.1) / trained for side, trained in zip(grid, native, strict=True))
        patches = F.interpolate(patches, scale_factor=scale, mode='bicubic', align_corners=False)
    elif kind in ('antialias', 'bicubic'):
        antialias = kind == 'antialias'
        patches = F.interpolate(patches, size=grid, mode='bicubic', align_corners=False, antialias=antialias)
    else:
        patches = F.interpolate(patches, size=grid, mode='bilinear', align_corners=False)
    return torch.cat([before, patches.flatten(2)[0].T])
