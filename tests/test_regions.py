"""Region maps: found once and kept, read from a folder, and refused where they do not fit."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TinyBench

from naclip_bench.cli import dispatch
from naclip_bench.errors import BenchError
from naclip_bench.helpers import SAM2, RegionFolder, build_helper
from naclip_bench.helpers.mask2former import segments
from naclip_bench.helpers.regions import check_regions
from naclip_bench.helpers.sam2 import boxes_of, painted

#: A SAM 2 of a few thousand parameters.
TINY_SAM2 = dict(
    vision_config=dict(
        backbone_config=dict(
            model_type='sam2_hiera_det_model',
            hidden_size=16,
            image_size=[256, 256],
            blocks_per_stage=[1, 1, 2, 1],
            embed_dim_per_stage=[16, 32, 64, 128],
            num_attention_heads_per_stage=[1, 2, 4, 8],
            global_attention_blocks=[3],
        ),
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[64, 64], [32, 32], [16, 16]],
        fpn_hidden_size=32,
    ),
    prompt_encoder_config=dict(hidden_size=32, image_size=256, patch_size=16),
    mask_decoder_config=dict(hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32),
)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    path = tmp_path / 'images' / 'photo.png'
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return str(path)


def sam2(**settings):
    return build_helper(dict(dict(type='SAM2', arch=TINY_SAM2, pretrained=None), **settings), 'model.regions')


IMAGE = torch.rand(3, 30, 44, generator=torch.Generator().manual_seed(0))


def test_sam2_gives_a_map_of_the_images_size():
    every, none = sam2(quality=0.0, stability=0.0), sam2(quality=1.0)
    found = every.regions(IMAGE)
    assert found.shape == (30, 44)
    assert found.max() >= 1
    assert not none.regions(IMAGE).any()
    # How many points go together decides nothing.
    assert torch.equal(sam2(quality=0.0, stability=0.0, point_batch=7).regions(IMAGE), found)
    assert every.random_weights
    assert every.key != none.key


#: A Mask2Former of a few thousand parameters.
TINY_MASK2FORMER = dict(
    backbone_config=dict(
        model_type='swin',
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    ),
    feature_size=32,
    mask_feature_size=32,
    hidden_dim=32,
    encoder_feedforward_dim=16,
    dim_feedforward=16,
    encoder_layers=1,
    decoder_layers=2,
    num_attention_heads=2,
    num_queries=9,
    num_labels=5,
)


def mask2former(**settings):
    settings = dict(dict(type='Mask2Former', arch=TINY_MASK2FORMER, pretrained=None, side=64), **settings)
    return build_helper(settings, 'model.regions')


def test_mask2former_gives_a_map_of_the_images_size():
    every, none = mask2former(quality=0.0, overlap=0.0), mask2former(quality=1.0)
    found = every.regions(IMAGE)
    assert found.shape == (30, 44)
    assert found.max() >= 1
    assert not none.regions(IMAGE).any()
    assert torch.equal(mask2former(quality=0.0, overlap=0.0).regions(IMAGE), found)
    assert every.random_weights
    assert every.key != none.key


def literal_segments(classes, masks, quality, overlap):
    """Mask2Former's panoptic inference, pixel by pixel, at the masks' own size; segments by their query."""
    scores = classes.softmax(-1)
    queries = [
        query
        for query in range(len(classes))
        if scores[query].argmax() < classes.shape[1] - 1 and scores[query].max() > quality
    ]
    _, height, width = masks.shape
    owners = {}
    for y in range(height):
        for x in range(width):
            owners[y, x] = max(queries, key=lambda query: float(scores[query].max() * masks[query, y, x].sigmoid()))
    regions = set()
    for query in queries:
        mask = {place for place in owners if masks[(query, *place)].sigmoid() >= 0.5}
        own = {place for place in mask if owners[place] == query}
        if own and len(own) / len(mask) >= overlap:
            regions.add(frozenset(own))
    return regions


@pytest.mark.parametrize('seed', range(3))
def test_segments_are_the_papers(seed):
    generator = torch.Generator().manual_seed(seed)
    classes = 2 * torch.randn(8, 4, generator=generator)
    masks = 3 * torch.randn(8, 3, 4, generator=generator).repeat_interleave(2, 1).repeat_interleave(2, 2)
    found = segments(classes, masks, (6, 8), 0.5, 0.3)
    regions = {frozenset(map(tuple, (found == of).nonzero().tolist())) for of in found.unique().tolist() if of}
    expected = literal_segments(classes, masks, 0.5, 0.3)
    assert regions == expected
    assert expected


def test_larger_regions_are_painted_over_smaller():
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2, :], masks[1, 0, 0], masks[2, 2, 2:5] = True, True, True
    assert painted(masks, (4, 6)).tolist() == [[3] * 6, [3] * 6, [0, 0, 2, 2, 2, 0], [0] * 6]
    assert boxes_of(masks).tolist() == [[0, 0, 5, 1], [0, 0, 0, 0], [2, 2, 4, 2]]
    assert not painted(masks[:0], (4, 6)).any()


def test_maps_are_found_once(photo, monkeypatch):
    calls, found = [], SAM2.regions
    monkeypatch.setattr(SAM2, 'regions', lambda self, image: calls.append(image.shape) or found(self, image))
    first, second = (sam2(quality=0.0, stability=0.0).of_image(IMAGE, (30, 44), photo) for _ in range(2))
    assert torch.equal(first, second)
    assert calls == [(3, 30, 44)]
    # Of other settings, and of another image.
    sam2(quality=0.0, stability=0.0, points=4).of_image(IMAGE, (30, 44), photo)
    sam2(quality=0.0, stability=0.0).of_image(IMAGE, (30, 44))
    assert len(calls) == 3


def test_maps_from_a_folder(tmp_path, photo):
    ids = np.arange(30 * 44).reshape(30, 44)
    (tmp_path / 'maps' / 'deep').mkdir(parents=True)
    Image.fromarray(ids.astype(np.uint16)).save(tmp_path / 'maps' / 'deep' / 'photo.png')
    folder = RegionFolder(tmp_path / 'maps')
    assert torch.equal(folder.of_image(IMAGE, (30, 44), photo), torch.from_numpy(ids))
    before = folder.weights_hash
    with pytest.raises(BenchError, match='has no region map other'):
        folder.of_image(IMAGE, (30, 44), 'other.jpg')
    with pytest.raises(BenchError, match=r'the region map of .*photo.png is 30 x 44, but the image 31 x 44'):
        folder.of_image(IMAGE, (31, 44), photo)
    Image.fromarray((ids + 1).astype(np.uint16)).save(tmp_path / 'maps' / 'deep' / 'photo.png')
    assert RegionFolder(tmp_path / 'maps').weights_hash != before
    with pytest.raises(BenchError, match='holds no region maps'):
        RegionFolder(tmp_path / 'images')
        RegionFolder(tmp_path / 'nowhere')


def test_ids_must_fit_16_bits():
    with pytest.raises(BenchError, match='has ids from 0 to 65536, not 0 to 65535'):
        check_regions(torch.tensor([[0, 65536]]), (1, 2), 'photo.jpg')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(pretrained='facebook/sam2-hiera-large'), 'config.json of facebook/sam2-hiera-large cannot be had'),
        (dict(pretrained='./nowhere'), 'there is no folder ./nowhere'),
        (dict(quality=2.0), 'model.regions.quality is 2.0; it must be a number from 0 to 1'),
    ],
)
def test_wrong_settings_are_one_line(settings, message):
    with pytest.raises(BenchError, match=message) as caught:
        sam2(**settings)
    assert '\n' not in str(caught.value)


def test_a_folder_that_holds_no_sam2(tmp_path):
    with pytest.raises(BenchError, match='holds no SAM 2 that can be read') as caught:
        sam2(pretrained=str(tmp_path))
    assert '\n' not in str(caught.value)


def test_the_command_makes_maps_ahead_and_resumes(tmp_path, monkeypatch, capsys):
    bench, calls, model = TinyBench(tmp_path), [], sam2().sam
    monkeypatch.setattr(SAM2, 'regions', lambda self, image: calls.append(1) or torch.zeros(image.shape[1:]).long())
    monkeypatch.setattr('naclip_bench.helpers.sam2._load', lambda *_: model)
    for limit in ('2', '3'):
        dispatch(['regions', 'voc21', '--data-root', str(bench.folder / 'data'), '--limit', limit])
    assert len(calls) == 3
    assert '3 of 3 region maps' in capsys.readouterr().out
    with pytest.raises(BenchError, match='materials24 has no files of images'):
        dispatch(['regions', 'materials24'])
