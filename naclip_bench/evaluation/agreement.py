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

    def labels(self, sample: dict) -> tuple[Tensor, Tensor] | None:
        pair = super().labels(sample)
        if pair is None:
            return None
        (by_cls, by_token), _ = pair
        return by_token, by_cls

    def scores(self, confusion: object) -> Agreement:
        return Agreement(**vars(super().scores(confusion)))
