"""GCLIP's Table 5: which tokens are asked, and whether they agree with [CLS]."""

from __future__ import annotations

import math

import pytest
import torch
from golden import TINY, random_image
from torch import Tensor
from torch.nn import functional as F

from naclip_bench.errors import BenchError
from naclip_bench.evaluation.agreement import AgreementMetric
from naclip_bench.evaluation.confusion import confusion_matrix
from naclip_bench.methods.global_tokens import TokenAgreement

pytestmark = pytest.mark.numeric

#: Eq. 2's product must exceed the smallest number of fp16.
LEAST = math.log(2**-24)


@pytest.fixture(scope='module')
def models() -> dict[str, TokenAgreement]:
    backbone = dict(arch=TINY, pretrained=None)
    return {
        token: TokenAgreement(token=token, class_names='voc20', backbone=backbone, templates='photo', window=None)
        for token in ('global', 'random')
    }


def plain_classes(model: TokenAgreement, image: Tensor) -> tuple[int, list[int], Tensor]:
    """[CLS]'s class, every patch's, and the products of eq. 2 in the emerging block; one step after the other."""
    backbone = model.backbone
    text, query_class, _ = model.text
    tokens, _ = backbone.embed(image)
    emerging = None
    for index, block in enumerate(backbone.blocks):
        attention = block.attention_map(tokens)[0].mean(0)[1:, 1:]
        products = (model.sigma * attention.double()).log().sum(0)
        if index <= 9 and (emerging is None or emerging.max() <= LEAST):
            emerging = products
        block.add_(tokens)
    out = F.normalize(backbone.head(tokens)[0], dim=-1)
    classes = [int(query_class[int((text @ token).argmax())]) for token in out]
    return classes[0], classes[1:], emerging


@pytest.mark.parametrize('seed', range(4))
def test_classes_equal_the_plain_way(models, seed):
    image = random_image(224, 224, seed)
    with torch.no_grad():
        by_cls, by_patch, products = plain_classes(models['global'], image)
        found = {}
        for token, model in models.items():
            tokens, trunk = model.window_tokens(image)
            (found[token],) = model.notes(tokens, trunk)
        assert by_cls == int(
            model.text[1][int((F.normalize(model.backbone.encode_image(image)) @ model.text[0].T).argmax())]
        )
    best = int(products.argmax())
    assert found['global'].tolist() == [[by_cls], [by_patch[best]]]
    others = [by_patch[index] for index in range(196) if products[index] <= LEAST and index != best]
    assert found['random'].tolist() == [[by_cls] * len(others), others]
    assert len(set(by_patch)) > 1, 'patches that are all alike would prove nothing'


@pytest.mark.parametrize('sigma', [100.0, 156.0, 1.0], ids=['the paper', 'more pass', 'none passes'])
def test_each_window_has_its_own_emerging_block(models, monkeypatch, sigma):
    monkeypatch.setattr(models['global'], 'sigma', sigma)
    images = torch.cat([random_image(224, 224, seed) for seed in range(4)])
    with torch.no_grad():
        together = models['global'].products(models['global'].window_tokens(images)[1])
        for image, products in zip(images, together, strict=True):
            assert torch.allclose(products.double(), plain_classes(models['global'], image[None])[2], atol=1e-2)


def test_who_is_asked(models):
    products = torch.tensor([LEAST - 1, LEAST + 2, LEAST + 1, LEAST - 3])
    assert models['global'].choose(products).tolist() == [False, True, False, False]
    assert models['random'].choose(products).tolist() == [True, False, False, True]
    # Where all pass, or none: all others.
    for shift in (10, -10):
        assert models['random'].choose(products + shift).tolist() == [True, False, True, True]


def test_tokens_that_are_not_finite_have_no_class(models):
    tokens, trunk = models['global'].window_tokens(random_image(224, 224))
    tokens[:, 0] = torch.nan
    assert models['global'].notes(tokens, trunk)[0][0].tolist() == [-1]


def test_accuracy():
    """Three of four tokens say what [CLS] says."""
    confusion = confusion_matrix(torch.tensor([[3, 3, 1, 2]]), torch.tensor([[3, 3, 3, 2]]), 5).numpy()
    assert AgreementMetric().scores(confusion).percent() == {'accuracy': 75.0}
    by_token, by_cls = AgreementMetric().pair(torch.tensor([[3, 3], [1, 3]]), torch.zeros(224, 224))
    assert (by_token.tolist(), by_cls.tolist()) == ([1, 3], [3, 3])


def test_unknown_token():
    with pytest.raises(BenchError, match='did you mean "global"'):
        TokenAgreement(token='globl', class_names='voc20', backbone=dict(arch=TINY, pretrained=None))
