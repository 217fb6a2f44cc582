"""The precision that a machine is made for: numbers differ with it, so that only those get it who ask for ``auto``."""

from __future__ import annotations

AUTO = 'auto'

#: Parts of a CPU that multiply bf16 matrices: without them torch's products are many times slower than in fp32.
BF16_UNITS = ('amx_bf16', 'avx512_bf16')


def precision_for(device: str) -> str:
    """Tell what a kind of device computes fastest without fp16's narrow range: ``bf16`` or ``fp32``.

        precision_for('cpu')    # 'fp32' where there is neither AMX nor AVX-512 bf16

    Args:
        device: ``cuda``, the current one, or ``cpu``; any other kind computes in fp32.
    """
    import torch

    if device == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp32'
    # torch before 2.10 tells no capabilities.
    units = getattr(torch.cpu, 'get_capabilities', dict)() if device == 'cpu' else {}
    return 'bf16' if any(units.get(unit) for unit in BF16_UNITS) else 'fp32'
