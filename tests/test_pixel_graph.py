"""The pixel graph of LPOSS+ behind any method, and refinements as columns of a table."""

import pytest
import torch
from golden import TINY, largest_difference, random_image
from helper import tiny_helper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from naclip_bench.errors import BenchError
from naclip_bench.inference import pixel_graph as module
from naclip_bench.inference.pipeline import pixel_logits, segment
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.report import make_report
from naclip_bench.tables.tables import find_table

pytestmark = pytest.mark.numeric

GRAPH = dict(type='PixelGraph', radius=2, tau=0.1)


def build(kind='NACLIP', **settings):
    backbone = dict(arch=TINY, pretrained=None)
    return MODELS.build(
        dict(dict(type=kind, class_names='clearclip_voc20', templates='photo', backbone=backbone), **settings)
    )


def lposs(**settings):
    return build('LPOSS', helper=tiny_helper(16), neighbors=20, window=None, **settings)


@pytest.mark.parametrize('size', [(64, 96), (50, 70)])
def test_behind_lposs_it_is_lposs_plus(size):
    """With one word a class, so that the words of a class are no maximum before the graph."""
    image = random_image(64, 96)[0]
    plus = pixel_logits([lposs(pixels=True, radius=2, tau=0.1)], [image], [size])[0][0].full()
    refined = pixel_logits([lposs(refine=GRAPH)], [image], [size])[0][0]
    assert largest_difference(refined.full(), plus) < 2e-5 * float(plus.abs().max())
    assert refined.size == size


def test_a_chunk_changes_rounding_alone():
    image, size = random_image(64, 96)[0], (50, 70)
    whole = pixel_logits([build(refine=GRAPH)], [image], [size])[0][0].full()
    apart = pixel_logits([build(refine=dict(GRAPH, query_chunk=3))], [image], [size])[0][0].full()
    assert largest_difference(whole, apart) < 1e-5
    assert largest_difference(whole, pixel_logits([build()], [image], [size])[0][0].full()) > 1e-3


def test_one_graph_an_image_for_all_methods(monkeypatch):
    made, of = [], module.pixel_graph
    monkeypatch.setattr(module, 'pixel_graph', lambda *rest: made.append(1) or of(*rest))
    first = build(refine=GRAPH)
    members = [
        first,
        *(build(kind, backbone=first.backbone, refine=dict(GRAPH, alpha=0.5)) for kind in ('SCLIP', 'SFP')),
    ]
    images = [random_image(64, 96, seed)[0] for seed in range(2)]
    samples = [SegDataSample(metainfo=dict(ori_shape=(64, 96), img_path=f'{index}')) for index in range(2)]
    together = segment(members, images, samples)
    assert len(made) == 2
    for member, of_member in zip(members, together, strict=True):
        for labels, alone in zip(of_member, segment([member], images, samples)[0], strict=True):
            assert torch.equal(labels, alone)


def test_out_of_memory_says_what_to_lower(monkeypatch):
    def fail(*rest):
        raise torch.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(module, 'pixel_graph', fail)
    with pytest.raises(
        BenchError, match=r'PixelGraph ran out of memory on an image of 64x96; lower model\.refine\.radius'
    ):
        build(refine=GRAPH)([random_image(64, 96)[0]], None, mode='predict')


@pytest.mark.parametrize('refine', ['PAMR', 'DenseCRF', 'PixelGraph'])
@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('SFP', {}),
        ('CLIPSurgery', {}),
        ('CorrCLIP', dict(helper=tiny_helper(), regions=dict(type='DrawnRegions'))),
        ('LPOSS', dict(helper=tiny_helper(16), neighbors=20)),
    ],
)
def test_every_refinement_stands_behind_a_method(kind, settings, refine):
    settings = dict(refine=dict(type=refine), window=None, **settings)
    model = build(kind, **settings)
    image = random_image(64, 96)[0]
    (sample,) = model([image], [SegDataSample(metainfo=dict(ori_shape=(60, 90)))], mode='predict')
    assert sample.pred_sem_seg.data.shape == (1, 60, 90)


def test_a_refinement_is_a_column_of_every_dataset():
    options = Options(datasets=('voc21', 'voc20'), refine=('PAMR', 'PixelGraph'))
    table = find_table('naclip/table1')
    plan = make_plan([table], options)
    (block,) = make_report(plan, {}, [table], options).blocks
    assert block.datasets == [
        'voc21',
        'voc20',
        *(f'{name} + {kind}' for kind in options.refine for name in ('voc21', 'voc20')),
    ]
    plain = make_plan([table], Options(datasets=('voc21', 'voc20')))
    assert [cell.row for cell in plan.cells if not cell.refine] == [cell.row for cell in plain.cells]
    refined = [cell for cell in plan.cells if cell.refine]
    assert {leaf.config.model.refine.type for cell in refined for leaf in cell.leaves} == {'PAMR', 'PixelGraph'}
    assert len(refined) == 2 * sum(bool(cell.leaves) for cell in plain.cells)


def test_methods_times_weights_plan():
    plan = make_plan([find_table('weights/table1')], Options(datasets=('voc21',)))
    assert len(plan.passes) == 7
    assert {len(pass_.leaves) for pass_ in plan.passes} == {8}
    of_naclip = {leaf.config.model.backbone.pretrained for leaf in plan.leaves if leaf.config.model.type == 'NACLIP'}
    assert {'openai', 'laion2b_s34b_b88k', 'datacomp_xl_s13b_b90k', 'dfn2b', 'metaclip_fullcc'} == of_naclip


def test_what_no_refinement_can_stand_behind_has_no_column():
    """CLIPtrase's vote on labels, and tokens."""
    tables = [find_table('cliptrase/table2'), find_table('gclip/table5')]
    plan = make_plan(tables, Options(refine=('PAMR',)))
    assert not any(cell.refine for cell in plan.cells if cell.metric == 'accuracy')
    assert not any(
        leaf.config.model.get('vote') == 'labels' and leaf.config.model.get('refine') for leaf in plan.leaves
    )
