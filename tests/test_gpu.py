"""The same numbers on a GPU; skipped where there is none."""

import warnings

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmseg.structures import SegDataSample

from naclip_bench.backbones.norms import add_and_normalize
from naclip_bench.backbones.norms import kernel as norm_kernel
from naclip_bench.datasets.packed import packed, unpacked
from naclip_bench.evaluation.confusion import batch_cells, confusion_matrix
from naclip_bench.inference.pamr import PAMR, average, kernel
from naclip_bench.inference.pipeline import segment
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


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_refinement_by_one_kernel_is_the_plain_one(dtype):
    near = PAMR().neighborhood(torch.rand(3, 60, 80).cuda(), (50, 70))
    maps = torch.randn(50 * 70, 40).cuda().to(dtype)
    ours, plain = (averaged(maps, near.index, near.affinity).float() for averaged in (kernel(), average))
    assert (ours - plain).abs().max() < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_norm_by_one_kernel_is_the_plain_one(dtype, tolerance):
    norm = torch.nn.LayerNorm(768).cuda().to(dtype).requires_grad_(False)
    tokens, added = torch.randn(2, 96, 197, 768, device='cuda').to(dtype)
    assert norm_kernel()
    together = tokens.clone()
    ours, plain = add_and_normalize(norm, together, added), norm(tokens + added)
    assert torch.equal(together, tokens + added)
    assert (ours - plain).abs().max() < tolerance


def test_confusion_is_counted_there():
    truth, prediction = (torch.randint(0, 5, (40, 50)) for _ in range(2))
    there = confusion_matrix(prediction.cuda(), truth.cuda(), 5)
    assert there.is_cuda
    assert torch.equal(there.cpu(), confusion_matrix(prediction, truth, 5))


@pytest.fixture
def waits():
    """Waits for the device are told as warnings."""
    torch.cuda.set_sync_debug_mode('warn')
    yield
    torch.cuda.set_sync_debug_mode('default')


@pytest.mark.usefixtures('waits')
@pytest.mark.parametrize('images', [1, 4])
def test_counting_waits_twice_however_many_images(images):
    pairs = [(torch.zeros(40, 50, dtype=torch.int16, device='cuda'),) * 2] * images
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        batch_cells(pairs, 5)
    assert len([one for one in told if 'synchronizing' in str(one.message)]) <= 2


@pytest.mark.usefixtures('waits')
@pytest.mark.parametrize('refine', [None, dict()])
def test_a_batch_waits_once_also_where_its_sizes_are_new(refine):
    naclip = model(refine=refine)
    image = random_image(336, 448, 1)[0].cuda()

    def batch(*sizes):
        segment([naclip], [image] * len(sizes), [SegDataSample(metainfo=dict(ori_shape=size)) for size in sizes])

    batch((250, 333), (250, 333))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        batch((250, 334), (250, 334), (251, 333))
    assert len([one for one in told if 'synchronizing' in str(one.message)]) == 1


@pytest.mark.parametrize('settings', [dict(), dict(prob_thd=0.06)])
def test_images_of_one_size_have_the_labels_of_each_alone(settings):
    naclip = model(**settings)
    images = [random_image(336, 448, seed)[0].cuda() for seed in range(5)]
    samples = [SegDataSample(metainfo=dict(ori_shape=size)) for size in [(250, 333)] * 4 + [(300, 400)]]
    (together,) = segment([naclip], images, samples)
    for labels, image, sample in zip(together, images, samples, strict=True):
        assert (labels == segment([naclip], [image], [sample])[0][0]).float().mean() >= 0.9999


@pytest.mark.usefixtures('waits')
def test_a_pinned_batch_arrives_without_a_wait():
    image, truth = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8), torch.randint(0, 21, (50, 61))
    sample = SegDataSample(metainfo=dict(ori_shape=(50, 61)))
    sample.truths = dict(voc21=truth)
    batch = packed([dict(inputs=image, data_samples=sample)])
    batch['memory'] = batch['memory'].pin_memory()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        out = unpacked(batch, torch.device('cuda'))
    assert not [one for one in told if 'synchronizing' in str(one.message)]
    assert out['inputs'][0].is_cuda and torch.equal(out['inputs'][0].cpu(), image)
    assert torch.equal(out['data_samples'][0].truths['voc21'].cpu().long(), truth)


def test_stages_are_the_devices_seconds():
    STOPWATCH.reset()
    predict(model())
    seconds = STOPWATCH.seconds()
    assert {'trunk', 'method', 'stitch+decide'} <= set(seconds)
    assert all(value >= 0 for value in seconds.values())
