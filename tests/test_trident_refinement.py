"""SAM's refinement of Trident's labels, against a literal transcription of what is known of the released code."""

import numpy as np
import pytest
import torch
from golden import TINY, largest_difference, random_image
from helper import TINY_PROMPTED_SAM, TINY_SAM, tiny_helper
from mmseg.registry import MODELS
from PIL import Image
from torch.nn import functional as F

from naclip_bench.errors import BenchError
from naclip_bench.helpers import Prompts, build_helper
from naclip_bench.inference.pipeline import pixel_logits
from naclip_bench.methods.trident.refinement import confident_regions, prompt_maps, refined, voted

CONFIDENCE, QUALITY = 0.3, 0.8


def blobs(classes, height, width, seed=0):
    """Smooth made-up probabilities (C, h, w), some of them low."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, height // 12, width // 12, generator=generator)
    return (2 * F.interpolate(coarse, size=(height, width), mode='bicubic'))[0].softmax(0)


def literal_regions(probabilities):
    """Flood each region of a class with its 8 neighbors: [(class, set of pixels)] in any order."""
    _, height, width = probabilities.shape
    labels = probabilities.argmax(0).tolist()
    highest = probabilities.amax(0).tolist()
    left = {(y, x) for y in range(height) for x in range(width) if highest[y][x] >= CONFIDENCE}
    regions = []
    while left:
        todo, region = [left.pop()], set()
        of_class = labels[todo[0][0]][todo[0][1]]
        while todo:
            y, x = todo.pop()
            region.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            same = {(v, u) for v, u in around if labels[v][u] == of_class}
            left -= same
            todo += same
        if len(region) >= 225:
            regions.append((of_class, region))
    return regions


class Scripted:
    """Prompts that are noted down, and answered with made-up masks."""

    map_side = 32

    def boxed(self, boxes, points, maps, size):
        self.asked = boxes, points, maps
        generator = torch.Generator().manual_seed(5)
        logits = torch.randn(len(boxes), 1, 6, 9, generator=generator)
        self.logits = 4 * F.interpolate(logits, size=size, mode='bicubic')[:, 0]
        self.scores = torch.linspace(0.6, 1.0, len(boxes))
        return self.logits, self.scores


@pytest.mark.parametrize('seed', (0, 2, 3))
def test_every_step_is_the_transcription(seed):
    probabilities = blobs(5, 48, 80, seed)
    labels = torch.randint(0, 5, (96, 160), generator=torch.Generator().manual_seed(seed))
    prompts = Scripted()
    found = refined(labels, probabilities, prompts, CONFIDENCE, QUALITY)

    expected = {(of_class, tuple(sorted(region))) for of_class, region in literal_regions(probabilities)}
    regions = confident_regions(probabilities, CONFIDENCE)
    as_pixels = [tuple(map(tuple, mask.nonzero().tolist())) for mask in regions.masks]
    assert len(expected) > 2
    assert {*zip(regions.classes.tolist(), as_pixels, strict=True)} == expected
    boxes, points, maps = prompts.asked
    for index, (of_class, pixels) in enumerate(zip(regions.classes.tolist(), as_pixels, strict=True)):
        rows, columns = zip(*pixels, strict=True)
        assert boxes[index].tolist() == [min(columns), min(rows), max(columns), max(rows)]
        best = max(pixels, key=lambda place: float(probabilities[of_class][place]))
        assert points[index].tolist() == [best[1], best[0]]
        small = F.interpolate(probabilities[None, [of_class]], size=(19, 32), mode='bilinear')[0, 0]
        padded = torch.zeros(32, 32)
        padded[:19] = torch.where(small > CONFIDENCE, small * 0.005, 0)
        assert torch.equal(maps[index], padded)

    kept = [index for index, score in enumerate(prompts.scores) if score > QUALITY]
    assert 0 < len(kept) < len(as_pixels)
    changed = 0
    for y in range(48):
        for x in range(80):
            votes = [0.0] * 5
            for index in kept:
                of_class = int(regions.classes[index])
                vote = float(prompts.logits[index, y, x].sigmoid() * probabilities[of_class, y, x])
                votes[of_class] = max(votes[of_class], vote)
            covered = any(prompts.logits[index, y, x] > 0 for index in kept)
            failed = [index for index in range(len(as_pixels)) if index not in kept and (y, x) in as_pixels[index]]
            beaten = any(probabilities[regions.classes[index], y, x] > max(votes) for index in failed)
            old = labels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            now = found[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            if covered and not beaten:
                changed += 1
                assert (now == max(range(5), key=lambda of_class: votes[of_class])).all()
            else:
                assert torch.equal(now, old)
    assert 100 < changed < 48 * 80 - 100


def test_without_regions_labels_stay():
    """The released code fails here."""
    labels = torch.zeros(20, 30, dtype=torch.long)
    for probabilities in (torch.full((4, 10, 15), 0.25), blobs(4, 12, 24)[:, :8, :16]):
        assert torch.equal(refined(labels, probabilities, None, CONFIDENCE, QUALITY), labels)


def test_where_all_masks_fail_labels_stay():
    probabilities = blobs(5, 48, 80)
    regions = confident_regions(probabilities, CONFIDENCE)
    logits = torch.ones(len(regions.classes), 48, 80)
    assert not voted(probabilities, regions, logits, torch.zeros(len(logits), dtype=torch.bool))[1].any()


def test_maps_fill_a_square_of_sam():
    assert prompt_maps(torch.ones(2, 30, 10), 12, 0.5).amax(0).nonzero().amax(0).tolist() == [11, 3]


@pytest.mark.numeric
@torch.no_grad()
def test_sam_is_asked_as_transformers_does():
    """Together as one by one, in SAM's pixels, and the masks are of the image."""
    helper = build_helper(TINY_PROMPTED_SAM)
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(1, 16, 8, 8, generator=generator)
    prompts = Prompts(helper, seen, (40, 60), (85, 128))
    count = 19
    corners = torch.rand(count, 2, 2, generator=generator).sort(1).values.flatten(1) * torch.tensor([59, 39, 59, 39])
    points = torch.rand(count, 2, generator=generator) * torch.tensor([59, 39])
    maps = torch.rand(count, 32, 32, generator=generator) * 0.005
    assert prompts.map_side == 32
    logits, scores = prompts.boxed(corners, points, maps, (40, 60))
    scale = torch.tensor([128 / 60, 85 / 40])
    for index in range(count):
        out = helper.sam(
            image_embeddings=seen,
            input_points=(points[index] * scale)[None, None, None],
            input_labels=torch.ones(1, 1, 1, dtype=torch.int32),
            input_boxes=(corners[index] * scale.repeat(2))[None, None],
            input_masks=maps[index][None, None],
            multimask_output=False,
        )
        large = F.interpolate(out.pred_masks[0], size=(128, 128), mode='bilinear')[:, :, :85]
        large = F.interpolate(large, size=(40, 60), mode='bilinear')[0, 0]
        assert largest_difference(logits[index], large) < 1e-5
        assert abs(float(scores[index] - out.iou_scores)) < 1e-5
    assert logits.std(0).max() > 1e-4


def build(**settings):
    settings = dict(dict(helper=tiny_helper(16), sam=TINY_SAM, class_names='voc21', window=64, stride=32), **settings)
    return MODELS.build(dict(type='Trident', backbone=dict(arch=TINY, pretrained=None), **settings))


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize('width', [96, 77])
def test_two_halves_are_two_images(tmp_path, width):
    """Each half of the file is what SAM sees; an odd column in the middle is in both."""
    picture = np.random.default_rng(0).integers(0, 256, (64, width, 3), dtype=np.uint8)
    half = -(-width // 2)
    paths = [str(tmp_path / f'{name}.png') for name in ('whole', 'left', 'right')]
    for path, part in zip(paths, (picture, picture[:, :half], picture[:, width - half :]), strict=True):
        Image.fromarray(part).save(path)
    found = build_helper(dict(TINY_SAM, halves=True)).of_image(torch.zeros(3, 8, 8), (64, width), paths[0])
    for part, path in zip(found, paths[1:], strict=True):
        (alone,) = build_helper(TINY_SAM).of_image(torch.zeros(3, 8, 8), (64, half), path)
        assert torch.equal(part.values, alone.values)
        assert torch.equal(part.embedding(), alone.embedding())
        assert part.inner == alone.inner


@pytest.mark.numeric
@torch.no_grad()
def test_halves_are_joined():
    model = build(sam=dict(TINY_SAM, halves=True))
    image = random_image(64, 128)[0]
    (logits,) = pixel_logits([model], [image], [(64, 128)])[0]
    assert len(logits.notes) == 2
    spliced = torch.randn(model.backbone.width, 4, 8, generator=torch.Generator().manual_seed(0))
    apart = [model.place_logits(spliced[..., 4 * n : 4 * n + 4], logits.notes[n], model.text.vectors) for n in (0, 1)]
    model.spliced = lambda *_: spliced
    (together,) = pixel_logits([model], [image], [(64, 128)])[0]
    joined = F.interpolate(torch.cat(apart, dim=-1)[None], size=(64, 128), mode='bilinear')[0]
    assert largest_difference(together.full(), joined) < 1e-5


@pytest.mark.numeric
@torch.no_grad()
@pytest.mark.parametrize('halves', [False, True])
def test_labels_are_refined_part_by_part(monkeypatch, halves):
    model = build(sam=dict(TINY_SAM, halves=halves), refiner=TINY_PROMPTED_SAM, confidence=0.0, quality=0.0)
    (logits,) = pixel_logits([model], [random_image(64, 128)[0]], [(100, 201)])[0]
    asked = []

    def noted(labels, probabilities, prompts, confidence, quality):
        asked.append((tuple(labels.shape), tuple(probabilities.shape), prompts.size, prompts._inner))
        assert 0 < probabilities.min() < probabilities.max() <= 1
        return labels + 100

    monkeypatch.setattr('naclip_bench.methods.trident.method.refined', noted)
    labels = model.decide(logits)
    if halves:
        assert asked == [((100, 101), (21, 50, 50), (50, 50), (128, 128))] * 2
    else:
        assert asked == [((100, 201), (21, 50, 100), (50, 100), (64, 128))]
    assert labels.min() >= 100


def test_a_refiner_that_is_no_match_is_refused():
    with pytest.raises(BenchError, match="its type must be 'PromptedSAM'"):
        build(refiner=TINY_SAM)
    other = dict(TINY_SAM, arch=dict(TINY_SAM['arch'], embed_dim=64))
    with pytest.raises(BenchError, match=r'a SAM of width 32 for 128 pixels, model\.sam of width 64'):
        build(sam=other, refiner=TINY_PROMPTED_SAM)
    with pytest.raises(BenchError, match=r'model\.refine must be PAMR or None'):
        build(refiner=TINY_PROMPTED_SAM, refine=dict(type='DenseCRF'))
