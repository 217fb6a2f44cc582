"""How many kernels some work launches: on a GPU one may take longer to start than to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations beside views that compute nothing and move nothing.
NO_WORK = {'empty', 'empty_like', 'empty_strided', 'new_empty', '_unsafe_view', 'lift_fresh', 'scalar_tensor'}


class Launches(TorchDispatchMode):
    """Counts torch's operations that compute or move something, while it is entered, on any device.

    Each is about a kernel of a GPU. Triton's are not seen.

    Attributes:
        counted: how many, so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    def __torch_dispatch__(
        self, operation: OpOverload, types: object, arguments: Sequence = (), named: Mapping | None = None
    ) -> object:
        self.counted += not (operation.is_view or operation.overloadpacket.__name__ in NO_WORK)
        return operation(*arguments, **(named or {}))
