"""Several methods on one frozen CLIP: images are cut and the trunk is run once for all.

Members that are the same method also share its tokens, and with the same class names the logits: what is left of each
is its refinement, thresholds and decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..backbones import FrozenCLIP
from ..datasets.preprocessor import ImagePreprocessor
from ..inference.pipeline import segment

#: Settings that come behind the patch tokens, and those behind the patch logits.
OF_VOCABULARY = ('class_names', 'templates')
OF_DECISION = ('logit_scale', 'prob_thd', 'area_thd', 'refine')


@MODELS.register_module()
class SideBySide(BaseSegmentor):
    """Methods that share windows, trunk and weights; each gives what it gives alone, to the last bit in fp32.

    Args:
        members: name of each member and its config without ``backbone``: a method, or one method with other settings.
        backbone: arguments of :class:`FrozenCLIP`.
    """

    def __init__(self, members: dict[str, dict], backbone: dict | None = None) -> None:
        clip = FrozenCLIP(**(backbone or {}))
        super().__init__(data_preprocessor=ImagePreprocessor.of(clip.colors))
        self.members = nn.ModuleDict()
        for name, config in members.items():
            member = MODELS.build(dict(config, backbone=clip))
            of_tokens = of_logits = config
            if not member.reads_text:
                of_logits = {key: value for key, value in config.items() if key not in OF_DECISION}
                of_tokens = {key: value for key, value in of_logits.items() if key not in OF_VOCABULARY}
            member.logits_key, member.tokens_key = (json.dumps(key, sort_keys=True) for key in (of_logits, of_tokens))
            self.members[name] = member

        #: Images, by their ``sample_idx``, that a member need not see again.
        self.finished: dict[str, frozenset[int]] = {}

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
        labels = segment(list(members.values()), inputs, data_samples) if members else []
        for index, sample in enumerate(data_samples):
            sample.predictions = {name: of[index].short() for name, of in zip(members, labels, strict=True)}
        return data_samples

    def extract_feat(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError('ask one of the members')

    encode_decode = _forward = loss = extract_feat
