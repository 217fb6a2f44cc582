"""Several methods on one frozen CLIP: images are cut and the trunk is run once for all.

What else they share follows from what they are: methods whose tokens depend on the same settings share tokens, and with
the same class names the logits; see :mod:`.stages`. What is left of each is its refinement, thresholds and decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..backbones import FrozenCLIP
from ..datasets.packed import unpacked
from ..errors import BenchError
from ..helpers import HELPERS, build_helper
from ..inference.pipeline import segment
from ..timing import STOPWATCH


@MODELS.register_module()
class SideBySide(BaseSegmentor):
    """Methods that share windows, trunk and weights; each gives what it gives alone, to the last bit in fp32.

    Args:
        members: name of each member and its config without ``backbone``: a method, or one method with other settings.
        backbone: arguments of :class:`FrozenCLIP`.

    Attributes:
        finished: of each member, indices of the images (``sample_idx``) that it need not see again.
        tell: told of each part of a batch that is done; see :func:`segment`.

    Raises:
        BenchError: members prepare images in different ways.
    """

    def __init__(self, members: dict[str, dict], backbone: dict | None = None) -> None:
        clip = FrozenCLIP(**(backbone or {}))
        helpers: dict = {}
        built = {}
        for name, config in members.items():
            own = {key: build_helper(config[key], f'model.{key}', helpers) for key in HELPERS if config.get(key)}
            built[name] = MODELS.build(dict(config, **own, backbone=clip))
        first, *others = (config.get('data_preprocessor') for config in members.values())
        if any(other != first for other in others):
            raise BenchError('methods side by side need the same data_preprocessor')
        super().__init__(data_preprocessor=next(iter(built.values())).data_preprocessor)
        self.members = nn.ModuleDict(built)
        self.finished: dict[str, frozenset[int]] = {}
        self.tell: Callable[[float], None] = lambda share: None

    @property
    def backbone(self) -> FrozenCLIP:
        return next(iter(self.members.values())).backbone

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Segment a batch as a run reads it; see :func:`naclip_bench.datasets.packed.packed`."""
        if 'memory' in data:
            with STOPWATCH.stage('read', self.backbone.device):
                data = unpacked(data, self.backbone.device)
        return super().test_step(data)

    @torch.no_grad()
    def predict(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]) -> list[SegDataSample]:
        """Segment images; each sample's ``predictions`` holds a label map (H, W) int16 by member's name.

        Members that have finished all of the images are left out.

        Raises:
            BenchError: see :func:`segment`.
        """
        wanted = {sample.get('sample_idx') for sample in data_samples}
        members = {
            name: member for name, member in self.members.items() if not wanted <= self.finished.get(name, frozenset())
        }
        labels = segment(list(members.values()), inputs, data_samples, self.tell) if members else []
        for index, sample in enumerate(data_samples):
            sample.predictions = {name: of[index] for name, of in zip(members, labels, strict=True)}
        return data_samples

    def extract_feat(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError('ask one of the members')

    encode_decode = _forward = loss = extract_feat
