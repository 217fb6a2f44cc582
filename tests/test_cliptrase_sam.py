"""CLIPtrase with SAM: points of clusters, masks that are regions, and SAM's weights."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from golden import TINY, random_image
from helper import TINY_PROMPTED_SAM, TINY_SAM
from safetensors.torch import save_file
from sklearn.cluster import DBSCAN

from naclip_bench.errors import BenchError
from naclip_bench.helpers import PromptedSAM
from naclip_bench.helpers.prompted_sam import transformers_names
from naclip_bench.methods.cliptrase import CLIPtrase
from naclip_bench.methods.cliptrase.prompts import cluster_prompts, evenly, mask_regions
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.tables import find_table

IMAGE = random_image(96, 64)
ARCH = TINY_PROMPTED_SAM['arch']


def cliptrase(**settings):
    settings = dict(window=None, vote='labels', eps=0.2, min_samples=2) | settings
    return CLIPtrase(class_names='voc20', backbone=dict(arch=TINY, pretrained=None), **settings)


# ---- points


def test_points_of_clusters():
    """Middles of 16 x 16 patches, x first; those of other clusters are background points, noise is none."""
    clusters = torch.tensor([[0, -1, 1], [0, 2, 1]])
    found = [[points.tolist() for points in prompt] for prompt in cluster_prompts(clusters, (16, 16))]
    assert found == [
        [[[8, 8], [8, 24]], [[40, 8], [24, 24], [40, 24]]],
        [[[40, 8], [40, 24]], [[8, 8], [8, 24], [24, 24]]],
        [[[24, 24]], [[8, 8], [40, 8], [8, 24], [40, 24]]],
    ]


@pytest.mark.parametrize('count', [1, 16, 17, 20, 441])
def test_points_are_few_and_even(count):
    points = torch.arange(2.0 * count).view(count, 2)
    expected = range(count) if count <= 16 else [math.floor(i * count / 16) for i in range(16)]
    assert evenly(points)[:, 0].tolist() == [2 * i for i in expected]


# ---- regions


class Drawn:
    """Masks that are given."""

    def __init__(self, masks):
        self.drawn = torch.tensor(masks)

    def masks(self, prompts, size):
        assert len(prompts) == len(self.drawn)
        return self.drawn


def test_the_highest_mask_wins_and_none_covers_the_rest():
    drawn = Drawn([[[1.0, 2.0, -1.0, 3.0]], [[2.0, 1.0, -2.0, 3.0]]])
    clusters = torch.tensor([[0, 1]])
    assert mask_regions(clusters, drawn, (16, 16), (1, 4)).tolist() == [[1, 0, -1, 0]]
    assert mask_regions(torch.tensor([[-1, -1]]), drawn, (16, 16), (1, 2)).tolist() == [[-1, -1]]


@torch.no_grad()
@pytest.mark.numeric
@pytest.mark.parametrize('min_samples', [2, 99])
def test_predictions(min_samples):
    """The released vote, in regions of SAM's masks; with 99 samples a cluster all is noise."""
    model = cliptrase(sam=TINY_PROMPTED_SAM, min_samples=min_samples)
    found = model.predict([IMAGE[0]])[0].pred_sem_seg.data[0]
    alone = cliptrase(cluster=None).predict([IMAGE[0]])[0].pred_sem_seg.data[0]

    _, trunk = model.window_tokens(IMAGE)
    labels = DBSCAN(eps=0.2, min_samples=min_samples).fit(model.patch_correlations(trunk)[0].numpy()).labels_
    known = [((16 * (i % 4) + 8, 16 * (i // 4) + 8), own) for i, own in enumerate(labels.tolist())]
    expected = alone.clone()
    if min_samples == 2:
        prompts = []
        for cluster in range(labels.max() + 1):
            sides = [
                [place for place, own in known if own == cluster],
                [place for place, own in known if own not in (cluster, -1)],
            ]
            sides = [[side[i * len(side) // 16] for i in range(16)] if len(side) > 16 else side for side in sides]
            prompts.append(tuple(torch.tensor(side, dtype=torch.float32).view(-1, 2) for side in sides))
        masks = model.sam.of_image(model.rgb(IMAGE[0]), (96, 64)).masks(prompts, (96, 64)).numpy()
        region = [[max(range(len(masks)), key=lambda k: masks[k, y, x]) for x in range(64)] for y in range(96)]
        region = [[k if masks[k, y, x] > 0 else None for x, k in enumerate(row)] for y, row in enumerate(region)]
        for cluster in range(len(masks)):
            pixels = [(y, x) for y in range(96) for x in range(64) if region[y][x] == cluster]
            votes = Counter(int(alone[pixel]) for pixel in pixels)
            for pixel in pixels:
                expected[pixel] = min(votes, key=lambda label: (-votes[label], label))
        assert -1 in labels and len(masks) > 1 and not torch.equal(expected, alone)
    assert torch.equal(found, expected)


@pytest.mark.parametrize('settings', [dict(vote='logits'), dict(cluster=None)])
def test_masks_are_regions_of_clusters_that_vote_on_labels(settings):
    with pytest.raises(BenchError, match=r"SAM's masks are regions of clusters that vote on labels: vote='labels'"):
        cliptrase(sam=TINY_PROMPTED_SAM, **settings)


def test_an_encoder_alone_gives_no_masks():
    with pytest.raises(BenchError, match=r"model\.sam must give masks of points: type='PromptedSAM'"):
        cliptrase(sam=TINY_SAM)


# ---- SAM


@torch.no_grad()
def test_a_mask_depends_on_its_own_points_alone():
    prompts = PromptedSAM(ARCH, None).of_image(torch.rand(3, 64, 48), (64, 48))
    first = torch.tensor([[8.0, 8.0], [24.0, 8.0]]), torch.tensor([[40.0, 40.0]])
    second = torch.tensor([[40.0, 40.0]]), torch.empty(0, 2)
    both = prompts.masks([first, second], (32, 24))
    assert both.shape == (2, 32, 24)
    assert torch.equal(both, torch.cat([prompts.masks([of], (32, 24)) for of in (first, second)]))


@torch.no_grad()
def test_masks_equal_those_of_transformers_own_processor():
    """Its resize, padding, scaling of points and of masks, at a size that is SAM's but for the padding."""
    from transformers import SamImageProcessor, SamProcessor

    helper, size = PromptedSAM(ARCH, None), (128, 80)
    image = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(0)).float() / 255
    processor = SamProcessor(
        SamImageProcessor(
            size=dict(longest_edge=128), pad_size=dict(height=128, width=128), mask_size=dict(longest_edge=32)
        )
    )
    points, signs = [[30.0, 50.0], [60.0, 20.0]], [1, 0]
    inputs = processor(
        (image * 255).byte(), input_points=[[points]], input_labels=[[signs]], return_tensors='pt', do_convert_rgb=False
    )
    out = helper.sam(
        **{name: inputs[name] for name in ('pixel_values', 'input_points', 'input_labels')}, multimask_output=False
    )
    (expected,) = processor.image_processor.post_process_masks(
        out.pred_masks,
        inputs['original_sizes'],
        inputs['reshaped_input_sizes'],
        binarize=False,
        pad_size=dict(height=128, width=128),
    )
    own, others = (torch.tensor([point]) for point in points)
    found = helper.of_image(image, size).masks([(own, others)], size)
    assert (found - expected[0]).abs().max() < 1e-5


def authors_names():
    """Names of a SAM's parameters in its authors' code, with two blocks in the image encoder."""
    both = ('weight', 'bias')
    names = ['image_encoder.pos_embed', 'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']
    names += [f'prompt_encoder.point_embeddings.{i}.weight' for i in range(4)]
    names += [f'prompt_encoder.{name}.weight' for name in ('not_a_point_embed', 'no_mask_embed')]
    names += [f'mask_decoder.{name}.weight' for name in ('iou_token', 'mask_tokens')]
    names += [f'image_encoder.neck.{i}.weight' for i in (0, 2)]
    names += [f'image_encoder.blocks.{i}.attn.rel_pos_{side}' for i in (0, 1) for side in 'hw']
    modules = ['image_encoder.patch_embed.proj', 'image_encoder.neck.1', 'image_encoder.neck.3']
    parts = ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.lin1', 'mlp.lin2')
    modules += [f'image_encoder.blocks.{i}.{part}' for i in (0, 1) for part in parts]
    modules += [f'prompt_encoder.mask_downscaling.{i}' for i in (0, 1, 3, 4, 6)]
    modules += [f'mask_decoder.output_upscaling.{i}' for i in (0, 1, 3)]
    modules += [f'mask_decoder.output_hypernetworks_mlps.{i}.layers.{j}' for i in range(4) for j in range(3)]
    modules += [f'mask_decoder.iou_prediction_head.layers.{j}' for j in range(3)]
    attentions = ['final_attn_token_to_image']
    for layer in ('layers.0', 'layers.1'):
        modules += [f'mask_decoder.transformer.{layer}.norm{i}' for i in (1, 2, 3, 4)]
        modules += [f'mask_decoder.transformer.{layer}.mlp.lin{i}' for i in (1, 2)]
        kinds = ('self_attn', 'cross_attn_token_to_image', 'cross_attn_image_to_token')
        attentions += [f'{layer}.{kind}' for kind in kinds]
    modules += ['mask_decoder.transformer.norm_final_attn']
    modules += [f'mask_decoder.transformer.{of}.{name}_proj' for of in attentions for name in ('q', 'k', 'v', 'out')]
    return names + [f'{module}.{part}' for module in modules for part in both]


def test_the_authors_names():
    names = authors_names()
    renamed = transformers_names(dict.fromkeys(names))
    assert len(renamed) == len(names)
    assert {*renamed} == {name for name, _ in PromptedSAM(ARCH, None).sam.named_parameters()}
    known = {
        'image_encoder.neck.3.bias': 'vision_encoder.neck.layer_norm2.bias',
        'mask_decoder.iou_prediction_head.layers.2.weight': 'mask_decoder.iou_prediction_head.proj_out.weight',
        'mask_decoder.output_upscaling.3.bias': 'mask_decoder.upscale_conv2.bias',
        'prompt_encoder.mask_downscaling.6.weight': 'prompt_encoder.mask_embed.conv3.weight',
    }
    assert [*transformers_names(dict.fromkeys([*known, 'image_encoder.pos_embed']))][:-1] == [*known.values()]


def test_weights_of_a_file_and_of_a_folder(tmp_path):
    random = PromptedSAM(ARCH, None)
    assert (random.random_weights, random.weights_name) == (True, 'random')
    state = {name: value.clone() for name, value in random.sam.named_parameters()}
    other = 'prompt_encoder.no_mask_embed.weight'
    state[other] = state[other] + 1
    save_file(state, tmp_path / 'sam.safetensors')
    file = PromptedSAM(ARCH, tmp_path / 'sam.safetensors')
    assert (file.random_weights, file.weights_name) == (False, 'sam.safetensors')
    assert file.key['sha256'] != random.key['sha256']
    authors = {
        name: state[own]
        for name, own in zip(authors_names(), transformers_names(dict.fromkeys(authors_names())), strict=True)
    }
    save_file({name: value.clone() for name, value in authors.items()}, tmp_path / 'authors.safetensors')
    file.sam.save_pretrained(tmp_path / 'folder')
    for place in ('authors.safetensors', 'folder'):
        assert PromptedSAM(ARCH, tmp_path / place).key == file.key


@pytest.mark.parametrize(
    ('pretrained', 'message'),
    [
        ('absent.pth', 'there is no file absent.pth with weights of SAM'),
        ('absent', 'there is no folder absent with a SAM that transformers saved'),
    ],
)
def test_weights_that_are_not_there(pretrained, message):
    for build in (lambda: PromptedSAM(ARCH, pretrained), lambda: PromptedSAM.check(dict(pretrained=pretrained))):
        with pytest.raises(BenchError, match=message):
            build()


def test_weights_of_another_sam(tmp_path):
    save_file(dict(PromptedSAM(ARCH, None).sam.named_parameters()), tmp_path / 'tiny.safetensors')
    with pytest.raises(BenchError, match=r'tiny\.safetensors holds the weights of another model than SAM'):
        PromptedSAM(
            ARCH | dict(mask_decoder_config=ARCH['mask_decoder_config'] | dict(mlp_dim=8)),
            tmp_path / 'tiny.safetensors',
        )


def test_table_3_runs_it():
    plan = make_plan([find_table('cliptrase/table3')], Options(rows=('SCR+D+SAM',), pretrained='none'))
    assert len(plan.leaves) == 9
    assert all(leaf.config.model.sam == dict(type='PromptedSAM', pretrained=None) for leaf in plan.leaves)
