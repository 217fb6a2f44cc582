"""CLIPtrase equals its released code, from image files to scores, and what its settings promise besides."""

import numpy as np
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import METRICS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from scipy import ndimage
from tiny import TinyBench, run_here

from naclip_bench.configuration import config_names, load_config
from naclip_bench.datasets.square import CentralSquare, VoidIsBackground, central_square
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.smoothed import SmoothedMetric
from naclip_bench.methods.cliptrase import CLIPtrase
from naclip_bench.methods.cliptrase.regions import (
    cluster_maps,
    clusters,
    majority,
    median_filter,
    patch_regions,
    regional_mean,
    regions,
)
from naclip_bench.vocabulary import Vocabulary

pytestmark = pytest.mark.numeric

STORED = golden('cliptrase.npz')
OFFICIAL = [name for name in config_names() if name.startswith('official/cliptrase')]


def cliptrase(class_names='voc20', **settings):
    return CLIPtrase(class_names=class_names, backbone=dict(arch=TINY, pretrained=None), **settings)


@torch.no_grad()
@pytest.mark.parametrize('block', [11, 12])
def test_tokens_and_correlations(block):
    model = cliptrase(cluster_layer=block)
    tokens, trunk = model.window_tokens(random_image(224, 224))
    assert largest_difference(tokens, STORED['feat/224x224']) < 1e-5
    assert largest_difference(model.correlations(trunk)[:, ::4], STORED[f'attn{block}[::4]/224x224']) < 1e-5


@pytest.fixture(scope='module')
def loaded(tmp_path_factory):
    """The two stored images and masks as the official pipeline reads them from files."""
    folder = tmp_path_factory.mktemp('images')
    steps = load_config('official/cliptrase_voc20_224').test_dataloader.dataset.pipeline
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    samples = []
    for index in range(2):
        paths = {kind: folder / f'{kind}{index}.png' for kind in ('picture', 'mask')}
        for kind, path in paths.items():
            path.write_bytes(STORED[f'loop/{kind}/{index}'].numpy().tobytes())
        samples.append(
            pipeline(dict(img_path=str(paths['picture']), seg_map_path=str(paths['mask']), sample_idx=index))
        )
    return pseudo_collate(samples)


@pytest.mark.parametrize(('eps', 'min_samples'), [(0.7, 3), (2.0, 4)])
def test_whole_loop(loaded, eps, min_samples):
    """From image files to scores: clustered matrix, DBSCAN's labels, prediction, ground truth and scores."""
    stored = {key.removeprefix('loop/'): value for key, value in STORED.items() if key.startswith('loop/')}
    config = load_config('official/cliptrase_voc20_224')
    config.model.update(backbone=dict(arch=TINY, pretrained=None), eps=eps, min_samples=min_samples)
    model, case = MODELS.build(config.model), f'eps{eps}/min{min_samples}'
    data = model.data_preprocessor(dict(loaded))
    trunk = model.backbone.trunk(torch.stack(data['inputs']), model.shared_depth, model.inner_outputs)
    for index, matrix in enumerate(model.patch_correlations(trunk)):
        # The suite rounds CLIP's mean and deviation to three decimals.
        assert largest_difference(matrix[::4], stored[f'X[::4]/{index}']) < 2e-5
        assert torch.equal(clusters(matrix, eps, min_samples), stored[f'{case}/labels/{index}'].long())
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = dict(classes=[str(number) for number in range(20)])
    for index, sample in enumerate(model.predict(data['inputs'], data['data_samples'])):
        assert torch.equal(sample.pred_sem_seg.data[0], stored[f'{case}/pred/{index}'].long())
        assert torch.equal(sample.gt_sem_seg.data[0], stored[f'gt/{index}'].long())
        metric.process(None, [sample.to_dict()])
    scores = metric.evaluate(2)
    for ours, theirs in (('mIoU', 'mIoU'), ('aAcc', 'pAcc'), ('mAcc', 'mAcc'), ('fwIoU', 'fwIoU')):
        assert scores[ours] == stored[f'{case}/scores/{theirs}']


# ---- regions


def test_median_is_scipys():
    maps = torch.rand(5, 12, 20, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(median_filter(maps), ndimage.median_filter(maps.numpy(), size=(1, 7, 7)))


def test_regions_absorb_noise_and_follow_the_clusters():
    """Two halves of a window that are like themselves, and one patch of noise that each resembles a little."""
    grid = (6, 8)
    left = (torch.arange(8) < 4).expand(grid).flatten()
    correlation = (left[:, None] == left).float()
    labels = (~left).long()
    labels[3] = -1
    maps = cluster_maps(labels, correlation, grid)
    assert maps.shape == (2, 24, 32)
    assert torch.equal(patch_regions(maps, grid), (~left).long())
    assert torch.equal(regions(maps, (60, 80)) == 0, (torch.arange(80) < 40).expand(60, 80))


def test_all_noise_changes_nothing():
    points = torch.eye(12) * 100
    assert (clusters(points, 0.7, 3) == -1).all()
    maps = cluster_maps(clusters(points, 0.7, 3), torch.rand(12, 12), (3, 4))
    assert len(maps) == 0
    own = patch_regions(maps, (3, 4))[None]
    logits = torch.randn(1, 12, 5)
    assert torch.equal(regional_mean(logits, own), logits)
    settings = dict(window=None, vote='labels')
    images = [random_image(64, 96)[0]]
    voted = cliptrase(eps=1e-6, **settings).predict(images)[0].pred_sem_seg.data
    plain = cliptrase(cluster=None, **settings).predict(images)[0].pred_sem_seg.data
    assert torch.equal(voted, plain)


def test_regional_mean_is_a_windows_own():
    logits = torch.randn(2, 4, 3)
    shared = regional_mean(logits, torch.tensor([[0, 0, 1, 0], [2, 1, 1, 2]]))
    assert torch.allclose(shared[0, [0, 1, 3]], logits[0, [0, 1, 3]].mean(0).expand(3, -1))
    assert torch.equal(shared[0, 2], logits[0, 2])
    assert torch.allclose(shared[1, [1, 2]], logits[1, [1, 2]].mean(0).expand(2, -1))


def test_majority_and_its_ties():
    labels = torch.tensor([[0, 0, 2, 2, 1], [1, 1, 0, 2, 2]])
    areas = torch.tensor([[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert majority(labels, areas, 3, False).tolist() == [[0, 0, 0, 0, 1], [1] * 5]
    assert majority(labels, areas, 3, True).tolist() == [[2, 2, 2, 2, 1], [1] * 5]
    labels[0, 0] = -1
    assert majority(labels, areas, 3, False).tolist() == [[-1, 0, 0, 0, 1], [1] * 5]


# ---- settings


@torch.no_grad()
def test_modules_switched_off_are_clip_itself():
    image = random_image(112, 176)
    text = cliptrase().text[0]
    plain = MODELS.build(dict(type='PlainCLIP', class_names='voc20', backbone=dict(arch=TINY, pretrained=None)))
    expected, trunk = plain.window_tokens(image)
    for layer in (12, 9):
        model = cliptrase(recover=None, cluster=None, layer=layer)
        assert model.shared_depth == layer - 1 and model.inner_outputs == ()
        tokens, own = model.window_tokens(image)
        assert largest_difference(tokens, expected) < 1e-5
        assert largest_difference(model.match(tokens, text, own), plain.match(expected, text, trunk)) < 1e-5


@torch.no_grad()
def test_every_setting_changes_the_logits():
    images, samples = [random_image(96, 128)[0]], [SegDataSample(metainfo=dict(ori_shape=(96, 128)))]
    variants = [
        dict(),
        dict(recover=None),
        dict(layer=9, cluster_layer=9),
        dict(layer=10, cluster_layer=9),
        dict(cluster=None),
        dict(cluster='features'),
        dict(cluster_layer=12),
        dict(correlation='product', eps=7),
        dict(denoise=False),
        dict(eps=0.5),
        dict(min_samples=6),
        dict(weigh_by_cls=True),
        dict(attention='correlation'),
        dict(attention='self'),
        dict(attention='correlation', heads='joined'),
        dict(unit_rows=True),
    ]
    # At this eps every one of them finds clusters in so small an image.
    found = [cliptrase(**{'eps': 0.3, **settings})(images, samples, mode='tensor')[0] for settings in variants]
    for index, logits in enumerate(found):
        for other in range(index):
            assert largest_difference(logits, found[other]) > 1e-4, (variants[index], variants[other])


@torch.no_grad()
@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
def test_attention_weights_gather_what_the_block_gathers(precision):
    model = CLIPtrase(class_names='voc20', backbone=dict(arch=TINY, pretrained=None, precision=precision))
    trunk = model.backbone.trunk(random_image(48, 80), model.shared_depth, model.inner_outputs)
    weights = model.attention_weights(trunk)
    assert weights.shape == (1, 2, 16, 16)
    assert torch.allclose(weights.float().sum(-1), torch.tensor(3.0), atol=2e-2)
    block = model.backbone.blocks[-1]
    gathered = block.surround(trunk.tokens, block.output(weights @ block.qkv(trunk.tokens)[2]))
    tolerance = 1e-5 if precision == 'fp32' else 0.1
    assert largest_difference(model.backbone.head(gathered), model.dense_tokens(trunk)) < tolerance
    # With a block before the last recovered, the last attends as CLIP does.
    earlier = CLIPtrase(class_names='voc20', backbone=dict(arch=TINY, pretrained=None, precision=precision), layer=9)
    trunk = earlier.backbone.trunks(random_image(48, 80), [earlier.need])[0]
    assert torch.allclose(earlier.attention_weights(trunk).float().sum(-1), torch.tensor(1.0), atol=2e-2)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(correlation='cosin'), 'correlation is .cosin.; .* did you mean "cosine"'),
        (dict(cluster='feature'), 'cluster is .feature.; .* did you mean "features"'),
        (dict(vote='label'), 'did you mean "labels"'),
        (dict(layer=13), 'layer is 13; with this backbone it must be from 2 to 12'),
        (dict(layer=9, cluster_layer=10), 'cluster_layer is 10; it must be from 2 to layer, 9'),
        (dict(layer=2), 'cluster_layer is 1'),
        (dict(eps=0), 'eps is 0; it must be a number above 0'),
        (dict(min_samples=0), 'min_samples is 0; it must be a whole number at least 1'),
        (dict(vote='labels'), 'for whole images'),
        (dict(vote='labels', window=None, refine=dict()), 'not refined'),
    ],
)
def test_wrong_settings_are_said(settings, message):
    with pytest.raises(BenchError, match=message):
        cliptrase(**settings)


@pytest.mark.parametrize('settings', [dict(), dict(cluster='features'), dict(window=None, vote='labels')])
def test_logits_that_are_not_finite_are_refused(settings):
    model = cliptrase(**settings)
    model.backbone.clip.visual.transformer.resblocks[9].mlp.c_proj.bias.data[0] = float('nan')
    with pytest.raises(BenchError, match='not finite'):
        model.predict([random_image(224, 224)[0]])


# ---- the authors' protocol


@pytest.mark.parametrize(
    ('size', 'square'), [((30, 47), 16), ((47, 30), 16), ((20, 20), 24), ((16, 19), 16), ((333, 500), 224)]
)
def test_central_square_is_torchvisions(size, square):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    for ours, theirs in (
        (Image.Resampling.BICUBIC, InterpolationMode.BICUBIC),
        (Image.Resampling.NEAREST, InterpolationMode.NEAREST),
    ):
        expected = Compose([Resize(square, theirs), CenterCrop(square)])(image)
        assert np.array_equal(central_square(image, square, ours), expected)


def test_masks_keep_wide_labels():
    results = dict(img=np.zeros((30, 40, 3), np.uint8), gt_seg_map=np.full((30, 40), 846, np.int32))
    assert (CentralSquare(16).transform(results)['gt_seg_map'] == 846).all()
    with pytest.raises(BenchError, match='size is 0'):
        CentralSquare(0)


def test_void_is_background():
    scored = VoidIsBackground().transform(dict(gt_seg_map=np.array([[255, 0, 3]])))
    assert scored['gt_seg_map'].tolist() == [[0, 0, 3]]
    left_out = VoidIsBackground().transform(dict(gt_seg_map=np.array([[255, 0, 0]])))
    assert left_out['gt_seg_map'].tolist() == [[255, 255, 255]]


def test_smoothed_scores():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    scores = SmoothedMetric().scores(confusion)
    assert np.allclose(scores.iou, [6 / 9.01, 3 / 6.01, 0])
    assert np.isclose(scores.mIoU, (6 / 9.01 + 3 / 6.01) / 2)
    assert np.isclose(scores.mAcc, (6 / 8.01 + 3 / 4.01 + 0) / 3)
    assert np.isclose(scores.aAcc, 9 / 12)
    assert np.isclose(scores.fwIoU, (8 * 6 / 9.01 + 4 * 3 / 6.01) / 12)
    assert np.isclose(SmoothedMetric().scores(np.array([[6, 2], [0, 0]])).mIoU, 6 / 8.01), 'class 1 is predicted only'
    assert np.isnan(SmoothedMetric().scores(np.zeros((3, 3), np.int64)).mIoU)


@pytest.mark.parametrize('name', OFFICIAL)
def test_official_protocol(name):
    config = load_config(name)
    model, steps = config.model, config.test_dataloader.dataset.pipeline
    side = 224 if name.endswith('_224') else 336
    assert (model.eps, model.min_samples) == ((0.7, 3) if side == 224 else (1.1, 7))
    assert [step.size for step in steps if step.type == 'CentralSquare'] == [side]
    with_background = config.dataset in ('voc21', 'pc60', 'coco_object')
    assert model.get('background', False) == with_background == ('VoidIsBackground' in [step.type for step in steps])
    assert model.get('weigh_by_cls', False) == (config.dataset == 'voc20')
    assert (model.window, model.vote, model.prob_thd, model.logit_scale) == (None, 'labels', 0, 100)
    # Those of 27 classes are scored as the papers are that they are compared with.
    exact = config.dataset in ('coco27', 'cityscapes27')
    assert config.test_evaluator.type == ('ConfusionMetric' if exact else 'SmoothedMetric')


@pytest.mark.parametrize(
    ('name', 'classes', 'words'),
    [
        ('voc21', 21, 53),
        ('voc20', 20, 20),
        ('pc60', 60, 60),
        ('pc59', 59, 59),
        ('coco_object', 81, 187),
        ('coco_stuff', 171, 171),
        ('ade20k', 150, 150),
        ('ade847', 847, 847),
    ],
)
def test_class_names(name, classes, words):
    """No word stands in two classes: that the background's come first here, and last there, makes no other tie."""
    vocabulary = Vocabulary(f'cliptrase_{name}')
    assert (len(vocabulary), len(vocabulary.occurrences)) == (classes, words)
    assert torch.equal(vocabulary.query_class[vocabulary.occurrences], vocabulary.word_class)
    assert vocabulary.multiplicity.max() == (2 if name == 'voc21' else 1)


def test_official_run(tmp_path, capfd):
    """The command over the official protocol, with overlays: squares are scored and drawn, void as background."""
    bench = TinyBench(tmp_path, classes=(1, 2, 15))
    options = {
        'model.backbone.arch': bench.arch,
        'model.cluster_layer': 2,
        'test_dataloader.dataset.pipeline.2.size': 48,
        'test_dataloader.num_workers': 0,
    }
    outcome = run_here(
        capfd,
        ['official/cliptrase_voc21_224', '--data-root', str(tmp_path / 'data'), '--pretrained', 'none']
        + [
            '--work-dir',
            str(bench.work_dir),
            '--store',
            str(bench.work_dir / 'store'),
            '--show-dir',
            str(tmp_path / 'drawn'),
            '--cfg-options',
        ]
        + [f'{key}={value}' for key, value in options.items()],
    )
    assert outcome.code == 0, outcome.stderr
    record = bench.result()
    assert (record['method'], record['protocol'], record['settings']['short_side']) == ('CLIPtrase', 'official', 48)
    assert record['pixels'] == 4 * 48 * 48
    absent = [row for row in record['per_class'] if not row['pixels']]
    assert absent and all(row['IoU'] == 0 for row in absent)
    with Image.open(tmp_path / 'drawn' / 'p0.png') as overlay:
        assert 3 * 336 < overlay.width < 3 * 336 + 60  # magnified seven times


def test_what_the_configs_share_is_no_setting():
    with pytest.raises(BenchError, match='there is no setting released'):
        load_config('official/cliptrase_voc20', cfg_options={'released.model.eps': 2})
