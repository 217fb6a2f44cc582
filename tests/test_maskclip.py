"""MaskCLIP's two forms against the value path written out."""

import pytest
import torch
from golden import TINY, largest_difference, random_image
from literal import finished, projected

from naclip_bench.methods.maskclip import MaskCLIP

pytestmark = pytest.mark.numeric


@torch.no_grad()
@pytest.mark.parametrize('form', ['identity', 'released'])
def test_each_token_is_its_own_value(form):
    """``released`` keeps the residual and the feed-forward network, ``identity`` has neither."""
    model = MaskCLIP(class_names='voc20', backbone=dict(arch=TINY, pretrained=None), form=form)
    tokens, trunk = model.window_tokens(random_image(48, 64))
    values = projected(model.backbone, trunk.tokens[0])['v']
    assert largest_difference(tokens[0], finished(model.backbone, trunk.tokens[0], values, form == 'released')) < 1e-5
    other = finished(model.backbone, trunk.tokens[0], values, form != 'released')
    assert largest_difference(tokens[0], other) > 0.1
