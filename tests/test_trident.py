"""Trident equals its released code (without SAM's refinement), and what it adds is defined."""

import numpy as np
import pytest
import torch
from golden import TINY, golden, largest_difference, random_image
from helper import TINY_SAM, drawn_regions, tiny_helper, with_text
from mmseg.registry import MODELS
from PIL import Image
from torch.nn import functional as F

from naclip_bench.datasets.preprocessor import MEAN, STD
from naclip_bench.errors import BenchError
from naclip_bench.helpers import Affinity, build_helper
from naclip_bench.inference.pipeline import pixel_logits
from naclip_bench.inference.windows import Windows

pytestmark = pytest.mark.numeric

STORED = golden('trident.npz')
CASE = 'pic250x333-at448x597'

#: The SAM of the stored outputs.
SAM = dict(
    img_size=1024,
    embed_dim=96,
    depth=4,
    num_heads=3,
    global_attn_indexes=(1, 3),
    window_size=14,
    use_rel_pos=True,
    neck_chans=64,
)


def build(**settings):
    settings = dict(dict(helper=tiny_helper(16), sam=TINY_SAM, class_names='proxyclip_voc21'), **settings)
    return MODELS.build(dict(type='Trident', backbone=dict(arch=TINY, pretrained=None), **settings))


def drawn_picture(height, width, seed):
    """(H, W, 3) uint8 colored noise with a few flat shapes, as the stored outputs were made from."""
    generator = torch.Generator().manual_seed(3000 + seed + height * 10007 + width)
    coarse = torch.randn((1, 3, height // 32, width // 32), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode='bicubic', align_corners=False)
    smooth = (smooth + 0.08 * torch.randn((1, 3, height, width), generator=generator))[0].permute(1, 2, 0)
    ids = drawn_regions(height, width, 6, seed, 0)
    colors = torch.randn((7, 3), generator=generator)
    return ((0.6 * smooth + 0.8 * colors[ids]) * 50 + 120).clamp(0, 255).round().byte().numpy()


def test_every_step_is_the_released_one(tmp_path, monkeypatch):
    model = build(sam=dict(type='SAM', arch=SAM, pretrained=None), window=336, stride=224, prob_thd=0.2)
    seen = {}
    for name in ('window_outputs', 'cut_attention', 'aggregated'):
        method = getattr(model, name)

        def noted(*arguments, name=name, method=method):
            seen[name] = method(*arguments)
            return seen[name]

        monkeypatch.setattr(model, name, noted, raising=False)
    picture = drawn_picture(250, 333, 1)
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    pixels = F.interpolate(pixels, size=(448, 597), mode='bilinear', align_corners=False)[0]
    image = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    stored = {key.rsplit('/', 1)[1]: value for key, value in STORED.items() if f'voc21/{CASE}/' in key}
    assert largest_difference(model.text.vectors, stored['query_features']) < 1e-6
    with_text(model, stored['query_features'])
    (affinity,) = model.sam.of_image(model.rgb(image), (250, 333), str(tmp_path / 'picture.png'))
    monkeypatch.setattr(model.sam, 'of_image', lambda *_: (affinity,))
    (logits,) = pixel_logits([model], [image], [(250, 333)])[0]
    assert affinity.grid == tuple(stored['sam0_grid'].tolist())
    assert largest_difference(affinity.values[:, ::768], stored['sam0_v[:,::768]']) < 1e-5
    outputs = seen['window_outputs']
    assert len(outputs) == stored['windows']
    outputs = outputs.flatten(2).transpose(1, 2).flatten(0, 1)
    assert largest_difference(outputs[::52], stored['window_out[::52]']) < 5e-5
    assert largest_difference(seen['cut_attention'][::768], stored['sam0_affinity[::768]']) < 1e-6
    assert largest_difference(seen['aggregated'][::39], stored['aggregated[::39]']) < 5e-5
    check_labels(model, logits, stored)

    # The same picture with other text vectors.
    stored = {key.rsplit('/', 1)[1]: value for key, value in STORED.items() if f'voc21-spread/{CASE}/' in key}
    with_text(model, stored['query_features'])
    check_labels(model, pixel_logits([model], [image], [(250, 333)])[0][0], stored)


def check_labels(model, logits, stored):
    found = logits.full()[model.vocabulary.occurrences]
    assert largest_difference(found[:, ::25, ::25], stored['seg_logits[:,::25,::25]']) < 2e-5
    assert (model.decide(logits) == stored['pred']).float().mean() >= 0.9999


def random_affinity(heads=2, grid=(3, 4), size=5):
    generator = torch.Generator().manual_seed(0)
    count = grid[0] * grid[1]
    values = torch.randn(heads, count, size, generator=generator)
    attention = torch.randn(heads, count, count, generator=generator).softmax(-1)
    return Affinity(grid, values, lambda head: attention[head].clone())


@pytest.mark.parametrize(('factor', 'negative'), [(1.2, True), (3.0, False), (0.0, True)])
def test_cut_attention_written_out(factor, negative):
    affinity = random_affinity()
    cosines = torch.stack([F.cosine_similarity(v[:, None], v[None], dim=-1) for v in affinity.values])
    expected = torch.zeros(12, 12)
    for place in range(12):
        threshold = factor * cosines[:, place].mean()
        threshold = 0.6 if threshold < 0 and not negative else min(threshold, 0.9)
        for head in range(2):
            expected[place] += affinity.attention(head)[place] * (cosines[head, place] > threshold) / 2
    expected /= expected.sum(-1, keepdim=True)
    model = build(cos_factor=factor, negative=negative)
    assert largest_difference(model.cut_attention(affinity), expected) < 1e-6


def test_a_place_that_is_like_none_sees_itself():
    affinity = random_affinity()
    nothing = Affinity(affinity.grid, affinity.values, lambda head: torch.zeros(12, 12))
    assert torch.equal(build().cut_attention(nothing), torch.eye(12))


def test_windows_are_spliced_where_they_lie():
    model, windows = build(), Windows.over((96, 80), 64, 32)
    whole = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    cut = torch.stack(
        [
            whole[:, top // 16 : top // 16 + 4, left // 16 : left // 16 + 4]
            for top in windows.tops
            for left in windows.lefts
        ]
    )
    assert largest_difference(model.spliced(cut, windows), whole) < 1e-6
    with pytest.raises(BenchError, match='must be whole patches of CLIP'):
        model.spliced(cut, Windows.over((90, 80), 64, 32))


def test_images_are_brought_to_whole_patches():
    model = build()
    assert model.prepared(random_image(448, 597)[0]).shape == (3, 464, 608)
    assert model.prepared(random_image(336, 448)[0]).shape == (3, 336, 448)


@torch.no_grad()
def test_uniform_pictures_have_labels():
    """The released code gives NaN for all of an image whose similarities are high on the mean."""
    model = build()
    (logits,) = pixel_logits([model], [torch.zeros(3, 224, 336)], [(50, 70)])[0]
    assert logits.full().isfinite().all()


@torch.no_grad()
def test_sam_gives_features_of_windows():
    sam = build_helper(TINY_SAM)
    assert sam.features(torch.rand(2, 3, 64, 96)).shape == (2, 16, 8, 8)
    with pytest.raises(BenchError, match='SAM gives no features "q"'):
        sam.features(torch.rand(1, 3, 64, 64), 'q')


@torch.no_grad()
def test_affinity_is_the_encoders_own_attention():
    """Of a square image nothing is left out: heads applied to values give what the last block's attention gives."""
    sam = build_helper(TINY_SAM)
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    affinity, block, seen = sam.affinity(image), sam.encoder.blocks[-1], {}
    block.attn.register_forward_hook(lambda module, inputs, out: seen.update(out=out))
    sam.encoder.forward_features(((image - sam._mean) / sam._deviation)[None])
    gathered = torch.cat([affinity.attention(head) @ affinity.values[head] for head in range(2)], dim=-1)
    assert largest_difference(block.attn.proj(gathered), seen['out'][0].flatten(0, 1)) < 1e-5
