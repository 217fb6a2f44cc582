"""The share of tokens that say what [CLS] says (GCLIP, Table 5); see :mod:`naclip_bench.methods.global_tokens`."""

from __future__ import annotations

from mmseg.registry import METRICS
from torch import Tensor

from .confusion import Scores
from .metric import ConfusionMetric


class Agreement(Scores):
    """Scores of which the share of agreement is the only one that means something."""

    def percent(self) -> dict[str, float]:
        return {'accuracy': 100 * float(self.aAcc)}


@METRICS.register_module()
class AgreementMetric(ConfusionMetric):
    """Accuracy of tokens' classes, [CLS]'s being the truth; a "pixel" is a token."""

    counting = 'tokens'

    def pair(self, prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        by_cls, by_token = prediction
        return by_token, by_cls

    def scores(self, confusion: object) -> Agreement:
        return Agreement(**vars(super().scores(confusion)))
