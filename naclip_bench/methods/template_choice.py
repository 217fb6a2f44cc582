"""Which prompts suit a class, told by the entropy of predictions on images without labels: FLOSS's choice.

FLOSS (Benigmim et al., ICCV 2025, arXiv 2504.10487) makes a classifier of each of M templates alone. H[m, k] is the
mean entropy of the softmax over the words where classifier m says class k; the N templates of lowest H[., k] are the
experts of class k. The choices here:

- A class's queries are made of its experts, and all classes compete in one softmax. The paper keeps a classifier of all
  classes for each class's experts and merges their labels: K times the logits, and no part of a vocabulary.
- Entropy is read a patch, from logits drawn at that size: pixels between are interpolated from the same values.
- Thresholds and refinement take no part. A class that no classifier says anywhere keeps all templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from ..inference.pipeline import Logits, pixel_logits
from ..vocabulary import Vocabulary
from .base import TrainingFreeSegmentor
from .side_by_side import SideBySide

#: How many experts a class has in the paper.
EXPERTS = 4


def choose_templates(
    settings: ConfigDict,
    templates: Sequence[str],
    images: Iterable[Tensor],
    experts: int = EXPERTS,
    device: str | torch.device = 'cpu',
    tell: Callable[[int], None] = lambda count: None,
) -> tuple[list[list[str]], SideBySide]:
    """Choose the templates of each class.

    Args:
        settings: ``model`` of a config.
        templates: what is chosen from; each has a ``{}``.
        images: (3, H, W) each, BGR in 0..255, resized as the config says.
        experts: how many a class, N.
        tell: told how many images are done.

    Returns:
        The templates of each class, the one of lowest entropy first; and the methods that chose.

    Raises:
        BenchError: see :class:`SideBySide`.
    """
    own = {key: value for key, value in settings.items() if key not in ('backbone', 'refine')}
    members = {f'template{place}': dict(own) for place in range(len(templates))}
    model = SideBySide(members, settings.get('backbone')).eval().to(device)
    chosen = list(model.members.values())
    for member, template in zip(chosen, templates, strict=True):
        member.vocabulary = Vocabulary(settings['class_names'], [template])
    classes = len(chosen[0].vocabulary)
    entropy = torch.zeros(len(chosen), classes, dtype=torch.float64, device=device)
    patches = torch.zeros_like(entropy)
    for count, image in enumerate(images, 1):
        normalized = model.data_preprocessor(dict(inputs=[image]))['inputs']
        grid = model.backbone.grid(*normalized[0].shape[-2:])
        for place, ((logits,), member) in enumerate(zip(pixel_logits(chosen, normalized, [grid]), chosen, strict=True)):
            of_patches, said = entropies(logits, member)
            entropy[place].index_add_(0, said, of_patches)
            patches[place].index_add_(0, said, torch.ones_like(of_patches))
        tell(count)
    means = (entropy / patches).nan_to_num(nan=torch.inf)
    best = means.argsort(dim=0, stable=True)[:experts].T.tolist()
    found = [
        [templates[place] for place in places if means[place, of_class].isfinite()]
        for of_class, places in enumerate(best)
    ]
    return [of_class or list(templates) for of_class in found], model


@torch.no_grad()
def entropies(logits: Logits, member: TrainingFreeSegmentor) -> tuple[Tensor, Tensor]:
    """Tell the entropy (nats, float64) of each place's softmax over all words, and the class of its likeliest word."""
    _, query_class, multiplicity = member.text
    scores = logits.query_block(slice(0, len(query_class))).transpose(0, 1).flatten(1).double() * member.logit_scale
    counted = multiplicity.double()[:, None]
    log_likely = scores - (scores + counted.log()).logsumexp(0)
    return -(counted * log_likely.exp() * log_likely).sum(0), query_class[scores.argmax(0)]
