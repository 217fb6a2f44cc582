"""PNGs of every depth and kind, which pillow cannot write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6

#: Bits a sample that PNG has, by kind.
DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def png(labels: np.ndarray, kind: int, depth: int, palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """A PNG whose samples are the labels (H, W), in every channel the same."""
    height, width = labels.shape
    samples = labels[..., None].repeat(CHANNELS[kind], 2).reshape(height, -1)
    bits = (samples[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0))]
    if kind == PALETTE:
        chunks.append(
            (b'PLTE', bytes(np.array(palette or [(i, 255 - i, i // 2) for i in range(1 << depth)], np.uint8)))
        )
    chunks += [(b'IDAT', zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))), (b'IEND', b'')]
    packed = (
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body)) for name, body in chunks
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(packed)
