"""The same numbers on a GPU; skipped where there is none."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmseg.structures import SegDataSample

from naclip_bench.evaluation.confusion import confusion_matrix
from naclip_bench.methods.naclip import NACLIP
from naclip_bench.timing import STOPWATCH

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


def model(precision='fp32', **settings):
    backbone = dict(arch=TINY, pretrained=None, precision=precision)
    return NACLIP(class_names='cityscapes', backbone=backbone, **settings).cuda()


def predict(naclip):
    sample = SegDataSample(metainfo=dict(ori_shape=(250, 333)))
    return naclip.predict([random_image(336, 448, 1)[0].cuda()], [sample])[0].pred_sem_seg.data


@pytest.mark.parametrize(('case', 'refine'), [('nopamr', None), ('pamr10', dict())])
def test_released_labels_in_fp32(case, refine):
    expected = golden('naclip.npz')[f'naclip/city/slide/{case}/pred']
    assert (predict(model(refine=refine)).cpu() == expected).float().mean() >= 0.9999


def test_tokens_in_fp32_are_no_tf32():
    expected = golden('naclip.npz')['tiny/naclip/reduced-naclip-std5/224x336']
    tokens, _ = model().window_tokens(random_image(224, 336).cuda())
    assert largest_difference(tokens.cpu(), expected) < 2e-5


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_low_precision_agrees_on_most_pixels(precision):
    assert (predict(model(precision)) == predict(model())).float().mean() > 0.95


def test_confusion_is_counted_there():
    truth, prediction = (torch.randint(0, 5, (40, 50)) for _ in range(2))
    there = confusion_matrix(prediction.cuda(), truth.cuda(), 5)
    assert there.is_cuda
    assert torch.equal(there.cpu(), confusion_matrix(prediction, truth, 5))


def test_stages_are_the_devices_seconds():
    STOPWATCH.reset()
    predict(model())
    seconds = STOPWATCH.seconds()
    assert {'trunk', 'method', 'stitch+decide'} <= set(seconds)
    assert all(value >= 0 for value in seconds.values())
