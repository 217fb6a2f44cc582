"""DenseCRF: the lattice's parts exactly, filter and field against all pixels with all, and its place beside PAMR."""

import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from naclip_bench.configuration import load_config
from naclip_bench.errors import BenchError
from naclip_bench.inference.decide import NOT_FINITE, decide
from naclip_bench.inference.densecrf import DenseCRF, smoothness_kernel
from naclip_bench.inference.permutohedral import PermutohedralLattice, elevation, pack, simplices
from naclip_bench.inference.stitch import PixelLogits
from naclip_bench.inference.windows import Windows

SIZE = (24, 32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def two_halves():
    """An image (3, H, W) of two colors with a slanted border and a little noise, 0 to 255."""
    rows, columns = torch.meshgrid(*map(torch.arange, SIZE), indexing='ij')
    right = (columns + 0.5 * rows > 20).float()
    colors = 60 + right * torch.tensor([90.0, 40.0, -30.0])[:, None, None]
    return colors + 2 * torch.randn(3, *SIZE, generator=generator()), right.long()


def logits_of(patches, size=SIZE):
    """Logits of a whole image of that size."""
    return PixelLogits(patches[None], Windows.over(size, None, 1), size)


def places():
    return torch.cartesian_prod(*map(torch.arange, SIZE)).float()


def gaussian(features):
    """All pairs: exp(-|f_i - f_j|^2 / 2) in fp64."""
    return (-torch.cdist(features.double(), features.double()).square() / 2).exp()


def normalized(kernel):
    total = kernel.sum(1).rsqrt()
    return kernel * total[:, None] * total


# ---- the lattice


@pytest.mark.parametrize('size', [1, 2, 3, 5])
def test_a_point_is_the_weighted_mean_of_its_corners(size):
    """Weights are at least 0 and sum to 1, and coordinates of corner k are k modulo d + 1 and sum to 0."""
    features = 5 * torch.randn(500, size, generator=generator(), dtype=torch.float64)
    keys, weights = simplices(features)
    assert weights.min() > -1e-12
    assert largest_difference(weights.sum(1), torch.ones(500)) < 1e-12
    assert largest_difference((weights[..., None] * keys).sum(1), features @ elevation(size)) < 1e-9
    assert keys.sum(-1).eq(0).all()
    assert keys.remainder(size + 1).eq(torch.arange(size + 1)[:, None]).all()


def test_the_hyperplane_keeps_shapes():
    """Features of length 1 are equally long there, at right angles, and their coordinates sum to 0."""
    matrix = elevation(5)
    assert largest_difference(matrix.sum(1), torch.zeros(5)) < 1e-12
    product = matrix @ matrix.T
    assert largest_difference(product, product[0, 0] * torch.eye(5)) < 1e-9


def test_neighbors_are_one_step_along_an_axis():
    keys, _ = simplices(2 * torch.randn(300, 3, generator=generator()))
    codes, steps = pack(keys)
    place = {tuple(key.tolist()): int(code) for key, code in zip(keys.flatten(0, 1), codes.flatten(), strict=True)}
    assert len(set(place.values())) == len(place)
    found = 0
    for key, code in place.items():
        for axis, step in enumerate(steps.tolist()):
            after = tuple(value - 3 if index == axis else value + 1 for index, value in enumerate(key))
            assert (code + step in place.values()) == (after in place)
            if after in place:
                assert place[after] == code + step
                found += 1
    assert found > 100


@torch.no_grad()
def test_slicing_is_splatting_the_other_way_and_neither_loses_anything():
    lattice = PermutohedralLattice(2 * torch.randn(200, 3, generator=generator()))
    ones = torch.ones(200, 1)
    assert float(lattice.splat(ones).sum()) == pytest.approx(200, rel=1e-6)
    assert largest_difference(lattice.slice(torch.ones(lattice.points + 1, 1)), ones) < 1e-6
    down, up = lattice.splat(torch.eye(200)), lattice.slice(torch.eye(lattice.points + 1))
    assert largest_difference(down, up.T) < 1e-7
    assert down[-1].eq(0).all()


@torch.no_grad()
def test_constants_stay_constant():
    """Divided by what the filter makes of ones; where all neighbors are kept, a constant needs no division."""
    features = two_halves()[0].flatten(1).T / 10
    lattice = PermutohedralLattice(features)
    filtered = lattice.filter(torch.full((len(features), 2), 3.0)) / lattice.filter(torch.ones(len(features), 1))
    assert largest_difference(filtered, torch.full_like(filtered, 3.0)) < 1e-5
    alone = PermutohedralLattice(torch.tensor([[0.0], [1000.0]]))
    assert largest_difference(*alone.filter(torch.eye(2)).diagonal().tensor_split(2)) < 0.5
    assert alone.filter(torch.eye(2))[0, 1] == 0, 'what is far apart sees nothing of each other'


@pytest.mark.numeric
@pytest.mark.parametrize('sigmas', [(8.0, 20.0), (40.0, 40.0), (67.0, 3.0)])
def test_appearance_is_all_pixels_with_all(sigmas):
    image, truth = two_halves()
    appearance = DenseCRF(appearance_sigma=sigmas[0], color_sigma=sigmas[1]).neighborhood(image, SIZE)
    exact = normalized(gaussian(torch.cat([places() / sigmas[0], image.flatten(1).T / sigmas[1]], 1)))
    values = torch.stack([truth.flatten().float(), torch.rand(len(exact), generator=generator())], 1)
    ours, expected = appearance(values), exact.float() @ values
    # The lattice's kernel is a Gaussian up to some hundredths.
    assert (ours - expected).abs().mean() < 0.03
    assert (ours - expected).norm() / expected.norm() < 0.08


@pytest.mark.numeric
@pytest.mark.parametrize('sigma', [1.0, 3.0, 20.0])
def test_smoothness_is_all_pixels_with_all(sigma):
    values = torch.rand(SIZE[0] * SIZE[1], 3, generator=generator())
    expected = normalized(gaussian(places() / sigma)).float() @ values
    ours = smoothness_kernel(SIZE, sigma, values.device)(values)
    assert (ours - expected).norm() / expected.norm() < 0.08


def test_features_too_far_apart():
    with pytest.raises(BenchError, match='raise the standard deviations'):
        PermutohedralLattice(1e5 * torch.randn(20, 5, generator=generator()))


# ---- the field


def brute_force(settings, logits, image, scale, exact):
    """Mean field (C, H, W), all pixels with all, of one query a class; the kernels exact or the lattice's."""
    unary = (logits.full() * scale).log_softmax(0).flatten(1).T.double()
    everyone = torch.eye(SIZE[0] * SIZE[1])
    if exact:
        smoothness = normalized(gaussian(places() / settings.smoothness_sigma))
        features = torch.cat([places() / settings.appearance_sigma, image.flatten(1).T / settings.color_sigma], 1)
        appearance = normalized(gaussian(features))
    else:
        smoothness = smoothness_kernel(SIZE, settings.smoothness_sigma, image.device)(everyone).double()
        appearance = settings.neighborhood(image, SIZE)(everyone).double()
    kernel = settings.appearance_weight * appearance + settings.smoothness_weight * smoothness
    field = unary.softmax(1)
    for _ in range(settings.iterations):
        field = (unary + kernel @ field).softmax(1)
    return field.T.unflatten(1, SIZE)


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize('iterations', [1, 10])
def test_the_field_is_brute_force(iterations):
    """With the lattice's own kernel to rounding, with the exact one but for pixels that are near a tie."""
    image, _ = two_halves()
    logits = logits_of(torch.randn(4, 6, 8, generator=generator(3)))
    settings = DenseCRF(iterations, appearance_sigma=30.0, color_sigma=13.0, query_chunk=3)
    labels = settings.decide(settings(logits, image), torch.arange(4), torch.ones(4), 2.0)
    plain = decide(logits, torch.arange(4), torch.ones(4), 2.0)
    assert (labels != plain).float().mean() > 0.02, 'the field must change something'
    for exact, agreement in ((False, 0.999), (True, 0.97)):
        field = brute_force(settings, logits, image, 2.0, exact)
        assert (labels == field.argmax(0)).float().mean() >= agreement


#: What pydensecrf2 1.1, the released code of 2011 in Python, gives in tests/data/densecrf.npz: ours by its arguments.
RELEASED = {
    'labels0': dict(),
    'labels1': dict(
        iterations=5, appearance_weight=10.0, appearance_sigma=80.0, color_sigma=13.0, smoothness_sigma=3.0
    ),
}


@pytest.mark.numeric
@pytest.mark.parametrize('case', RELEASED)
def test_labels_are_those_of_the_released_code(case):
    stored = golden('densecrf.npz')
    image = stored['image'].permute(2, 0, 1).float()
    logits, settings = logits_of(stored['patches'], (48, 64)), DenseCRF(**RELEASED[case])
    rule = torch.arange(4), torch.ones(4), 4.0
    assert (decide(logits, *rule) != stored[case]).float().mean() > 0.08, 'the field must change something'
    assert (settings.decide(settings(logits, image), *rule) == stored[case]).float().mean() > 0.9995


@torch.no_grad()
def test_labels_follow_the_image():
    """A coarse and noisy guess of two halves comes out along their border."""
    image, truth = two_halves()
    guess = torch.nn.functional.avg_pool2d(torch.stack([1 - truth, truth])[None].float(), 8)[0]
    logits = logits_of(guess + 0.2 * torch.randn(guess.shape, generator=generator()))
    settings, rule = DenseCRF(appearance_sigma=20.0, color_sigma=10.0), (torch.arange(2), torch.ones(2), 4.0)
    before, after = decide(logits, *rule), settings.decide(settings(logits, image), *rule)
    assert (before == truth).float().mean() < 0.97 < 0.99 < (after == truth).float().mean()


@pytest.mark.numeric
@pytest.mark.parametrize('prob_thd', [0.0, 0.4])
@pytest.mark.parametrize('area_thd', [None, 0.25])
@pytest.mark.parametrize('chunk', [1, 2, None])
def test_without_weights_it_is_the_decision(prob_thd, area_thd, chunk):
    """Synonyms, a word that counts twice, a class without a word of its own, and both thresholds."""
    logits = logits_of(torch.randn(6, 6, 8, generator=generator(1)))
    rule = torch.tensor([0, 0, 1, 1, 3, 4]), torch.tensor([1.0, 1, 1, 2, 1, 1]), 2.0, prob_thd, area_thd
    settings = DenseCRF(2, appearance_weight=0, smoothness_weight=0, query_chunk=chunk)
    expected = decide(logits, *rule)
    assert len(expected.unique()) > (1 if area_thd else 2)
    labels = settings.decide(settings(logits, two_halves()[0]), *rule)
    assert (labels == expected).float().mean() > 0.999


@torch.no_grad()
def test_what_is_not_finite_is_no_class():
    patches = torch.zeros(4, 6, 8)
    patches[1, 0, 0] = float('nan')
    settings = DenseCRF(1)
    labels = settings.decide(settings(logits_of(patches), two_halves()[0]), torch.arange(4), torch.ones(4), 40.0)
    assert (labels == NOT_FINITE).any()


# ---- its place


def model(**refine):
    return MODELS.build(
        dict(
            type='NACLIP',
            class_names='voc20',
            backbone=dict(arch=TINY, pretrained=None),
            window=64,
            stride=32,
            refine=refine,
        )
    )


def test_out_of_memory_says_what_to_lower(monkeypatch):
    settings = DenseCRF()
    logits = settings(logits_of(torch.zeros(3, 6, 8)), two_halves()[0])

    def fails(*_, **__):
        raise torch.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(torch.nn.functional, 'embedding_bag', fails)
    with pytest.raises(BenchError, match=r'DenseCRF ran out .* 24x32; lower model\.refine\.query_chunk, which is 3'):
        settings.decide(logits, torch.arange(3), torch.ones(3), 40.0)


@pytest.mark.numeric
def test_one_lattice_an_image_for_all_methods(monkeypatch):
    """Side by side each gives what it gives alone; the lattice is made once an image, whatever weights it gets."""
    crf = dict(type='DenseCRF', iterations=1)
    refine = [crf, dict(crf, appearance_weight=9.0), dict(crf, color_sigma=9.0), dict(iterations=1), None]
    members = {
        f'{kind}{index}': dict(type=kind, class_names='voc20', window=64, stride=32, refine=settings)
        for index, settings in enumerate(refine)
        for kind in ('NACLIP', 'MaskCLIP')
    }
    clip = dict(arch=TINY, pretrained=None)
    images = [random_image(64, 96)[0]]
    together = MODELS.build(dict(type='SideBySide', members=members, backbone=clip))
    neighborhood, made = DenseCRF.neighborhood, []

    def counted(self, *arguments):
        made.append(self.color_sigma)
        return neighborhood(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(DenseCRF, 'neighborhood', counted)
        sample = together.predict(images, [SegDataSample(metainfo=dict(ori_shape=(40, 60)))])[0]
    assert made == [3.0, 9.0]
    for name, member in members.items():
        alone = MODELS.build(dict(member, backbone=clip))
        expected = alone.predict(images, [SegDataSample(metainfo=dict(ori_shape=(40, 60)))])[0]
        assert torch.equal(sample.predictions[name].long(), expected.pred_sem_seg.data[0]), name


def test_colors_are_measured_from_0_to_255():
    """However they were normalized: the preprocessor tells."""
    built = model(type='DenseCRF').refine
    assert built.normalized[1] == pytest.approx((68.501, 66.632, 70.323))
    image, _ = two_halves()
    mean, deviation = torch.tensor(built.normalized)[..., None, None]
    plain, normal = DenseCRF(), (image - mean) / deviation
    values = torch.rand(SIZE[0] * SIZE[1], 2, generator=generator())
    by_both = [of.neighborhood(given, SIZE)(values) for of, given in ((plain, image), (built, normal))]
    assert largest_difference(*by_both) < 1e-3
    assert built != plain
    with pytest.raises(BenchError, match='SegDataPreProcessor has no mean and std'):
        MODELS.build(
            dict(
                type='NACLIP',
                class_names='voc20',
                backbone=dict(arch=TINY, pretrained=None),
                data_preprocessor=dict(type='SegDataPreProcessor'),
                refine=dict(type='DenseCRF'),
            )
        )


def test_soft_output_is_refused():
    with pytest.raises(BenchError, match='gives no logits'):
        model(type='DenseCRF').encode_decode(
            [random_image(64, 96)[0]], [SegDataSample(metainfo=dict(ori_shape=(4, 4)))]
        )


def test_another_refinement_begins_with_its_own_settings():
    options = {'model.refine.type': 'DenseCRF', 'model.refine.color_sigma': 5}
    for name in ('naclip_voc21', 'official/naclip_voc21'):
        assert load_config(name, cfg_options=options).model.refine == {'type': 'DenseCRF', 'color_sigma': 5}
    same = load_config('official/naclip_voc21', cfg_options={'model.refine.type': 'PAMR', 'model.refine.iterations': 3})
    assert same.model.refine == {'type': 'PAMR', 'iterations': 3, 'dilations': (8, 16)}
    with pytest.raises(BenchError, match="'denscrf', which is no refinement"):
        model(type='denscrf')
