"""Settings that do not exist or do not fit end in one line, from a config and in Python."""

import inspect
from typing import Annotated, Literal

import pytest
from golden import TINY
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from pydantic import Field
from torch import nn

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.configuration import config_names, load_config
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.config_check import check_config
from naclip_bench.inference.pamr import PAMR
from naclip_bench.methods.base import TrainingFreeSegmentor
from naclip_bench.methods.clip import PlainCLIP
from naclip_bench.settings import (
    Count,
    Counts,
    NonNegativeFloat,
    NonNegativeInt,
    OddCount,
    PositiveFloat,
    Probability,
    checked,
    described,
    fitting,
    resolved_settings,
)

NAN, INFINITY = float('nan'), float('inf')
CLIP = dict(arch=TINY, pretrained=None)

#: A type, what it is called, some values that fit and some that do not.
TYPES = {
    'above 0': (PositiveFloat, 'a number above 0', [1e-9, 40, 65.5], [0, -5, NAN, INFINITY, '40', True, None, [40]]),
    'from 0': (NonNegativeFloat, 'a number at least 0', [0, 2.5], [-1e-9, NAN, INFINITY, False]),
    'share': (Probability, 'a number from 0 to 1', [0, 0.5, 1], [-0.1, 1.5, NAN, True, '0.5']),
    'count': (Count, 'a whole number at least 1', [1, 112], [0, -1, 1.0, 12.5, True, '8', None]),
    'index': (NonNegativeInt, 'a whole number at least 0', [0, 7], [-1, 0.0, False]),
    'odd': (OddCount, 'a whole number at least 1 and odd', [1, 3], [0, 2, -1, 3.0]),
    'counts': (Counts, 'a list, each a whole number at least 1 (at least 1 in all)', [(8,)], [8, (), (8, 0), 'ab']),
    'pair': (
        tuple[PositiveFloat, Probability],
        '(a number above 0, a number from 0 to 1)',
        [(2, 0.4)],
        [(2.0,), (0, 0.4), (2.0, 0.4, 1.0), True, 2.0],
    ),
    'words': (Literal['qq', 'csa'], '"qq" or "csa"', ['qq'], ['q', '', None, 1]),
    'switch': (bool, 'True or False', [True, False], [0, 1, 'yes', None]),
    'either': (Count | None, 'a whole number at least 1 or None', [None, 3], [0, 'None', False]),
    'Field': (Annotated[float, Field(gt=0, lt=3)], 'a number above 0 and under 3', [1.5, 2], [0, 3, '1']),
}


@pytest.mark.parametrize('kind', TYPES)
def test_types(kind):
    annotation, words, good, bad = TYPES[kind]
    assert described(annotation) == words
    for value in good:
        assert fitting('x', value, annotation) == value
    for value in bad:
        with pytest.raises(BenchError) as error:
            fitting('model.x', value, annotation)
        assert str(error.value).startswith(f'model.x is {value!r}; it must be {words}')


def test_lists_are_tuples_and_whole_numbers_floats():
    for value in ([8, 16], (8, 16)):
        assert fitting('x', value, Counts) == (8, 16)
    pair = fitting('x', [2, 0], tuple[PositiveFloat, Probability])
    assert pair == (2.0, 0.0) and [type(number) for number in pair] == [float, float]
    # What is not declared, or asked for as a list, is alike too.
    assert fitting('x', [[1], 2], object) == ((1,), 2)
    assert fitting('x', [1, 2], list[int]) == fitting('x', (1, 2), tuple[int, ...]) == (1, 2)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.lists(st.integers(), max_size=3)))
def test_any_value_fits_or_is_told(value):
    for annotation, *_ in TYPES.values():
        try:
            once = fitting('x', value, annotation)
        except BenchError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert fitting('x', once, annotation) == once


# ---- a constructor's settings


def test_defaults_are_filled_in_along_the_classes():
    found = resolved_settings('model', MODELS.get('CLIPSurgery'), dict(class_names='voc20', logit_scale=65, refine={}))
    assert found['templates'] == 'openai_85', 'the subclass has another default'
    assert (found['changed_blocks'], found['feature_surgery'], found['window']) == (6, True, 224)
    assert isinstance(found['logit_scale'], float)
    assert set(found) == {
        *inspect.signature(TrainingFreeSegmentor).parameters,
        *('feature_surgery', 'changed_blocks'),
    }
    given_as_default = resolved_settings('x', PAMR, dict(iterations=10, dilations=[8, 16]))
    defaults = dict(iterations=10, dilations=(8, 16), query_chunk=None, storage='fp32')
    assert given_as_default == resolved_settings('x', PAMR, {}) == defaults


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(class_names='voc20', logit_scal=4), 'there is no setting model.logit_scal; did you mean "logit_scale"'),
        (dict(), 'model.class_names is missing; it must be text'),
        (dict(class_names=5), 'model.class_names is 5; it must be text'),
    ],
)
def test_names_are_known_and_complete(settings, message):
    with pytest.raises(BenchError, match=f'^{message}'):
        resolved_settings('model', PlainCLIP, settings)


class Unannotated(PlainCLIP):
    """A method as one writes it in a hurry."""

    def __init__(self, sharpness=3, **kwargs):
        super().__init__(**kwargs)
        self.sharpness = sharpness


class Own(PlainCLIP):
    """A method with annotations of its own, one of which only a type checker knows."""

    def __init__(self, gain: PositiveFloat = 1.0, blocks: tuple[int, ...] = (1,), **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.gain, self.blocks = gain, blocks


class Foreign(PlainCLIP):
    """A method whose annotations only a type checker knows."""

    def __init__(self, gain: 'Unheard' = 1.0, **kwargs: object) -> None:  # noqa: F821
        super().__init__(**kwargs)
        self.gain = gain


def test_methods_of_ones_own():
    settings = dict(class_names='voc20', backbone=CLIP)
    assert Unannotated(sharpness='very', **settings).sharpness == 'very'
    assert Foreign(gain='some', **settings).gain == 'some'
    own = Own(gain=2, blocks=[3, 4], **settings)
    assert (own.gain, own.blocks, type(own.gain)) == (2.0, (3, 4), float)
    with pytest.raises(BenchError, match=r'^Own\.gain is -1; it must be a number above 0$'):
        Own(-1, **settings)
    with pytest.raises(BenchError, match=r'^Unannotated\.logit_scale is nan; it must be a number above 0$'):
        Unannotated(logit_scale=NAN, **settings)
    assert resolved_settings('model', Unannotated, dict(class_names='a'))['sharpness'] == 3


def test_a_class_that_takes_anything():
    class Anything:
        def __init__(self, known: Count = 1, **kwargs):
            pass

    assert resolved_settings('x', Anything, dict(other=[1])) == dict(known=1, other=(1,))
    with pytest.raises(BenchError, match=r'^x\.known is 0'):
        resolved_settings('x', Anything, dict(known=0))


def test_a_default_may_be_what_its_annotation_is_not():
    def careless(size: int = None, ratio: float = 'auto', sides: Counts = [1, 2]):  # noqa: B006, RUF013
        pass

    assert resolved_settings('x', careless, {}) == dict(size=None, ratio='auto', sides=(1, 2))
    assert resolved_settings('x', careless, dict(size=None))['size'] is None
    with pytest.raises(BenchError, match=r'^x\.size is 1\.5; it must be a whole number or None$'):
        resolved_settings('x', careless, dict(size=1.5))


def test_a_long_value_is_cut_and_stays_on_one_line():
    with pytest.raises(BenchError) as error:
        fitting('x', nn.Sequential(*(nn.Linear(1, 1) for _ in range(50))), Count)
    assert '\n' not in str(error.value) and len(str(error.value)) < 300


def test_checked_leaves_the_signature_and_other_arguments_alone():
    class Plain:
        @checked
        def __init__(self, first, /, *rest: Count, named: Count = 1, **others: Count):
            self.got = first, rest, named, others

    assert list(inspect.signature(Plain).parameters) == ['first', 'rest', 'named', 'others']
    assert Plain('a', 'b', named=2, more='c').got == ('a', ('b',), 2, {'more': 'c'})
    with pytest.raises(BenchError, match=r'^Plain\.named is 0'):
        Plain('a', named=0)


@pytest.mark.parametrize(
    ('of', 'settings', 'message'),
    [
        (PAMR, dict(dilations=8), r'PAMR\.dilations is 8; it must be a list'),
        (PAMR, dict(dilations=[]), r'PAMR\.dilations is \[\]'),
        (PAMR, dict(iterations=0), r'PAMR\.iterations is 0'),
        (FrozenCLIP, dict(precision='fp61'), r'FrozenCLIP\.precision is .*did you mean "fp16"'),
        (
            PlainCLIP,
            dict(class_names='voc20', prob_thd=1.5),
            r'PlainCLIP\.prob_thd is 1\.5; it must be a number from 0',
        ),
    ],
)
def test_building_in_python_says_it_too(of, settings, message):
    with pytest.raises(BenchError, match=f'^{message}'):
        of(**settings)


def test_a_backbone_and_a_preprocessor_can_be_given_as_they_are():
    clip = FrozenCLIP(**CLIP)
    model = PlainCLIP(class_names='voc20', backbone=clip, data_preprocessor=None)
    assert model.backbone is clip
    settings = resolved_settings('model', PlainCLIP, dict(class_names='voc20', backbone=clip, data_preprocessor=None))
    assert settings['backbone'] is clip
    assert fitting('x', layer := nn.Identity(), dict | nn.Module | None) is layer


# ---- a leaf config


@pytest.mark.parametrize('name', config_names())
def test_bundled_configs_have_nothing_wrong(name):
    check_config(load_config(name))


#: A changed setting and how the line begins.
WRONG = [
    ('model', 3, 'model is 3; it must be a group of settings'),
    ('model.type', 'NACLP', 'model.type is \'NACLP\', which is no method; did you mean "NACLIP"'),
    ('model.type', 'SegDataPreProcessor', "model.type is 'SegDataPreProcessor', which is no method"),
    ('model.sigmaa', 3, 'there is no setting model.sigmaa; did you mean "sigma"?'),
    ('model.logit_scale', 'abc', "model.logit_scale is 'abc'; it must be a number above 0"),
    ('model.logit_scale', NAN, 'model.logit_scale is nan; it must be a number above 0'),
    ('model.logit_scale', -5, 'model.logit_scale is -5; it must be a number above 0'),
    ('model.prob_thd', 1.5, 'model.prob_thd is 1.5; it must be a number from 0 to 1'),
    ('model.attention', 'nacli', "model.attention is 'nacli'; it must be"),
    ('model.class_names', 5, 'model.class_names is 5; it must be text'),
    ('model.window', True, 'model.window is True; it must be a whole number at least 1 or None'),
    ('model.stride', 12.5, 'model.stride is 12.5; it must be a whole number at least 1'),
    ('model.backbone', 3, 'model.backbone is 3; it must be'),
    ('model.backbone.pretraned', 'openai', 'there is no setting model.backbone.pretraned; did you mean "pretrained"?'),
    ('model.backbone.precision', 'fp8', "model.backbone.precision is 'fp8'; it must be"),
    ('model.refine', 3, 'model.refine is 3; it must be a group of settings or None'),
    ('model.refine.dilations', 8, 'model.refine.dilations is 8; it must be a list, each a whole number at least 1'),
    ('model.refine.iteration', 8, 'there is no setting model.refine.iteration; did you mean "iterations"'),
    ('model.data_preprocessor.type', 'ImagePreproc', "model.data_preprocessor.type is 'ImagePreproc'"),
    ('test_dataloader', 3, 'test_dataloader is 3; it must be a group of settings'),
    ('test_dataloader.batch_sise', 4, 'there is no setting test_dataloader.batch_sise; did you mean "batch_size"'),
    ('test_dataloader.batch_size', 0, 'test_dataloader.batch_size is 0; it must be a whole number at least 1'),
    ('test_dataloader.num_workers', -1, 'test_dataloader.num_workers is -1'),
    (
        'test_dataloader.persistent_workers',
        'no',
        "test_dataloader.persistent_workers is 'no'; it must be True",
    ),
    ('test_dataloader.sampler', 3, 'test_dataloader.sampler is 3; it must be a group of settings or None'),
    ('test_dataloader.sampler.type', 'DefaultSample', "test_dataloader.sampler.type is 'DefaultSample'"),
    (
        'test_dataloader.sampler.shufle',
        1,
        'there is no setting test_dataloader.sampler.shufle; did you mean "shuffle"?',
    ),
    ('test_dataloader.batch_sampler.size', 1, 'there is no setting test_dataloader.batch_sampler.size'),
    ('test_dataloader.dataset', 3, 'test_dataloader.dataset is 3; it must be a group of settings'),
    ('test_dataloader.dataset.foo', 1, 'there is no setting test_dataloader.dataset.foo'),
    ('test_dataloader.dataset.type', 'VOC', "test_dataloader.dataset.type is 'VOC', which is no dataset"),
    ('test_dataloader.dataset.data_root', 3, 'test_dataloader.dataset.data_root is 3; it must be text or None'),
    ('test_dataloader.dataset.reduce_zero_label', 'no', "test_dataloader.dataset.reduce_zero_label is 'no'"),
    ('test_dataloader.dataset.pipeline', 3, 'test_dataloader.dataset.pipeline is 3; it must be a list'),
    ('test_dataloader.dataset.pipeline.0.type', 'LoadImge', "test_dataloader.dataset.pipeline.0.type is 'LoadImge'"),
    ('test_dataloader.collate_fn', 'x', 'there is no setting test_dataloader.collate_fn'),
    ('test_dataloader.dataset.pipeline.1.scle', 3, 'there is no setting test_dataloader.dataset.pipeline.1.scle'),
    ('test_dataloader.dataset.pipeline.1.scale', 'a', "test_dataloader.dataset.pipeline.1.scale is 'a'; it must be"),
    ('test_evaluator', 3, 'test_evaluator is 3; it must be a group of settings'),
    (
        'test_evaluator.type',
        'IoUMetric',
        "test_evaluator.type is 'IoUMetric', which is no metric of the suite; did you",
    ),
    ('test_evaluator.ignore_indx', 0, 'there is no setting test_evaluator.ignore_indx; did you mean "ignore_index"?'),
    ('env_cfg', 3, 'env_cfg is 3; it must be a group of settings'),
    ('env_cfg.x', 1, 'there is no setting env_cfg.x; known: cudnn_benchmark, dist_cfg, mp_cfg, resource_limit'),
    ('env_cfg.mp_cfg.mp_start_method', 'frk', "env_cfg.mp_cfg.mp_start_method is 'frk'; it must be"),
    ('env_cfg.resource_limit', 0, 'env_cfg.resource_limit is 0'),
    ('test_cfg.fp16', True, 'test_cfg.fp16 is True; it must be False'),
    ('default_hooks', 3, 'default_hooks is 3; it must be a group of settings'),
    ('log_level', 'LOUD', "log_level is 'LOUD'; it must be"),
]


@pytest.mark.parametrize(('name', 'value', 'begin'), WRONG, ids=[f'{name}={value}' for name, value, _ in WRONG])
def test_wrong_settings_of_a_config_are_said(name, value, begin):
    config = load_config('naclip_voc21')
    config.merge_from_dict({name: value})
    with pytest.raises(BenchError) as error:
        check_config(config)
    assert str(error.value).startswith(begin)
    assert '\n' not in str(error.value)


def test_a_step_without_a_name_is_no_step():
    config = load_config('naclip_voc21')
    config.test_dataloader.dataset.pipeline = [print, *config.test_dataloader.dataset.pipeline]
    with pytest.raises(BenchError, match=r'^test_dataloader.dataset.pipeline.0 is .*; it must be a group of settings'):
        check_config(config)


def test_what_a_config_may_have_besides():
    config = load_config('naclip_voc21')
    config.merge_from_dict({'my_sides': [336], 'model.refine': {}, 'env_cfg.dist_cfg.timeout': 60})
    config.test_dataloader.batch_sampler = None
    config.model.data_preprocessor = ConfigDict(type='ImagePreprocessor', mean=[0, 0, 0], std=(1, 1, 1))
    check_config(config)
