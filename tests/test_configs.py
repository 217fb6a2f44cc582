"""Every config says the protocol that its name promises."""

import gc

import pytest
from mmseg.registry import DATASETS, MODELS

from naclip_bench.bundled import CONFIGS
from naclip_bench.catalog import catalog, filtered
from naclip_bench.configuration import config_names, find_config, load_config, register
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.record import short_side
from naclip_bench.vocabulary import Vocabulary

MATERIALS = ['materials24', 'materials25']
BENCHMARKS = ['voc21', 'voc20', 'pc60', 'pc59', 'coco_object', 'coco_stuff', 'cityscapes', 'ade20k']
LARGE = ['pc459', 'ade847']
UNSUPERVISED = ['coco27', 'cityscapes27']
WITH_BACKGROUND = {'voc21', 'pc60', 'coco_object'}


def test_imports_are_no_garbage_to_look_through():
    register()
    assert gc.isenabled() and gc.get_freeze_count() > 100_000


def test_all_configs_are_found_by_path_and_name():
    names = config_names()
    assert {f'naclip_{benchmark}' for benchmark in BENCHMARKS + LARGE} <= set(names)
    assert {f'official/naclip_{benchmark}' for benchmark in BENCHMARKS} <= set(names)
    assert find_config('naclip_voc21') == find_config(str(CONFIGS / 'naclip_voc21.py'))
    with pytest.raises(BenchError, match=r'did you mean .*"naclip_voc21"'):
        find_config('configs/naclip_voc12.py')


@pytest.mark.parametrize('name', config_names())
def test_a_config_is_whole(name):
    config = load_config(name)
    dataset = DATASETS.get(config.test_dataloader.dataset.type)
    assert MODELS.get(config.model.type) is not None
    assert len(Vocabulary(config.model.class_names)) == len(dataset.METAINFO['classes'])
    assert config.protocol == ('official' if name.startswith('official/') else 'common')
    assert name.removesuffix('_224').endswith(f'_{config.dataset}')
    assert config.images > 0


@pytest.mark.parametrize('benchmark', BENCHMARKS + LARGE)
def test_common_protocol(benchmark):
    config = load_config(f'naclip_{benchmark}')
    assert short_side(config) == (560 if benchmark == 'cityscapes' else 336)
    assert config.model.get('prob_thd', 0) == (0.1 if benchmark in WITH_BACKGROUND else 0)
    assert not {'window', 'stride', 'logit_scale', 'refine', 'area_thd'} & set(config.model)


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_official_protocol(benchmark):
    """Whole images on VOC, and PAMR 10 x (8, 16) everywhere."""
    config = load_config(f'official/naclip_{benchmark}')
    assert ('window' in config.model) == benchmark.startswith('voc')
    assert config.model.get('window') is None
    assert config.model.refine.to_dict() == dict(iterations=10, dilations=(8, 16))
    assert config.model.get('prob_thd', 0) == (0.1 if benchmark in WITH_BACKGROUND else 0)


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_clearclip_official_protocol(benchmark):
    config = load_config(f'official/clearclip_{benchmark}')
    thresholds = dict(voc21=0.5, pc60=0.15, coco_object=0.4)
    assert short_side(config) == 448
    assert (config.model.window, config.model.stride) == (224 if benchmark == 'cityscapes' else 448, 224)
    assert (config.model.logit_scale, config.model.get('prob_thd', 0)) == (50, thresholds.get(benchmark, 0))
    assert all(len(synonyms) == 1 for synonyms in Vocabulary(config.model.class_names).classes)


def test_command_line_settings_reach_the_config():
    config = load_config(
        'naclip_voc21', '/somewhere', 'none', 'bf16', {'model.stride': 56, 'test_dataloader.batch_size': 3}
    )
    assert config.test_dataloader.dataset.data_root == '/somewhere/VOCdevkit/VOC2012'
    assert config.model.backbone.pretrained is None
    assert config.model.backbone.precision == 'bf16'
    assert (config.model.stride, config.test_dataloader.batch_size) == (56, 3)
    assert load_config('naclip_voc21', pretrained='some/file.pt').model.backbone.pretrained == 'some/file.pt'


def test_catalog_is_read_from_the_configs():
    everything = catalog()
    assert {row[0] for row in everything['datasets']} == {*BENCHMARKS, *LARGE, *UNSUPERVISED, *MATERIALS}
    keys, datasets = ({row[0] for row in everything[kind]} for kind in ('methods', 'datasets'))
    assert {f'{key}_{benchmark}' for key in keys for benchmark in datasets} <= set(config_names())
    assert all(len(row[2]) > 20 for row in everything['methods']), 'a method without its paper'
    assert ('openai', 'ViT-B-16-quickgelu') in everything['weights']


def test_catalog_filtered():
    assert filtered(catalog(), ['Weights', 'l-14', 'openai']) == {'weights': [('openai', 'ViT-L-14-quickgelu')]}
    with pytest.raises(BenchError, match='did you mean "naclip"'):
        filtered(catalog(), ['nalcip'])


def test_a_setting_of_the_model_named_by_itself_is_told():
    with pytest.raises(BenchError, match=r'there is no setting sigma, but model\.sigma'):
        load_config('naclip_voc21', cfg_options={'sigma': 3})


def test_a_chunk_of_queries_refines_nothing_by_itself():
    """What is asked for when memory ran out must not turn the refinement on where there is none."""
    chunk = {'model.refine.query_chunk': 8}
    assert load_config('naclip_voc21', cfg_options=chunk).model == load_config('naclip_voc21').model
    assert load_config('official/naclip_voc21', cfg_options=chunk).model.refine.query_chunk == 8
    with_more = load_config('naclip_voc21', cfg_options={**chunk, 'model.refine.iterations': 3})
    assert with_more.model.refine == {'query_chunk': 8, 'iterations': 3}
