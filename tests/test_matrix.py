"""Methods x backbones: each pair with a tick runs, each without is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import families
import pytest
import torch
from helper import with_tiny_helpers
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.families import CLS, EVERYTHING, FAMILIES, INNER_BLOCKS, RESIDUALS, SELF_ATTENTION
from naclip_bench.configuration import method_bases, read_base
from naclip_bench.errors import BenchError
from naclip_bench.methods.fitting import check_fits, matrix, matrix_rows, needs_of

DOCS = Path(__file__).resolve().parents[1] / 'docs' / 'backbones.md'
MATRIX = matrix()
PAIRS = [(method, family, fits) for method, row in MATRIX.items() for family, fits in row.items()]


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp('words') / 'words.txt'
    path.write_text('sky\ncat, kitten\nground\n')
    return str(path)


@pytest.fixture(scope='module')
def backbones():
    """A backbone of each family, built once."""
    built = {}

    def of(family):
        if family not in built:
            families.skip_where_missing(families.CONFIGS[family])
            built[family] = FrozenCLIP(families.CONFIGS[family], None)
        return built[family]

    return of


def settings_of(method, words):
    base = method_bases()[method]
    model = ConfigDict(base if isinstance(base, dict) else read_base(base).model)
    model = with_tiny_helpers(model)
    return dict(model, class_names=words, templates='photo', window=64, stride=32)


@pytest.mark.parametrize(('method', 'family'), [(method, family) for method, family, fits in PAIRS if fits])
def test_a_pair_with_a_tick_runs(method, family, backbones, words):
    model = MODELS.build(dict(settings_of(method, words), backbone=backbones(family)))
    mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in model.backbone.colors)
    image = (torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)) - mean) / deviation
    tokens, trunk = model.window_tokens(image[None, :, :, :64])
    rows, columns = model.token_grid(trunk)
    assert tokens.shape == (1, model.backbone.prefix + rows * columns, model.backbone.embed_dim)
    assert tokens.isfinite().all() and tokens[0].std(0).max() > 0
    weights = model.attention_weights(trunk)
    assert weights.shape[-1] == trunk.tokens.shape[1] and weights.isfinite().all()
    (found,) = model.predict([image])
    assert found.pred_sem_seg.data.shape == (1, 64, 96)
    assert set(found.pred_sem_seg.data.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(('method', 'family'), [(method, family) for method, family, fits in PAIRS if not fits])
def test_a_pair_without_a_tick_is_refused_before_anything_is_loaded(method, family, words, monkeypatch):
    monkeypatch.setattr(
        'naclip_bench.backbones.clip.load_clip', lambda *arguments: pytest.fail('the backbone was loaded')
    )
    settings = settings_of(method, words)
    settings['backbone'] = dict(arch=families.CONFIGS[family], pretrained=None)
    with pytest.raises(BenchError) as refused:
        MODELS.build(settings)
    line, fits = str(refused.value), [name for name, row in MATRIX.items() if row[family]]
    assert '\n' not in line and f'({FAMILIES[family].title}) does not offer; ' in line
    assert line.endswith(f'methods that fit it: {", ".join(fits)}')


def test_the_fitting_ones_of_a_resnet_look_at_values_alone():
    assert [name for name, row in MATRIX.items() if row['resnet']] == ['maskclip', 'proxyclip', 'trident']


def test_openais_and_eva_fit_all():
    assert all(row[family] for row in MATRIX.values() for family in ('clip', 'eva', 'mobileclip'))


@pytest.mark.parametrize(
    ('kind', 'settings', 'needs'),
    [
        ('PlainCLIP', dict(), {SELF_ATTENTION, RESIDUALS}),
        ('PlainCLIP', dict(arch='reduced'), {SELF_ATTENTION}),
        ('MaskCLIP', dict(form='released'), {RESIDUALS}),
        ('NACLIP', dict(arch='vanilla'), {SELF_ATTENTION, RESIDUALS}),
        ('ClearCLIP', dict(attention='identity', residual=True), {RESIDUALS}),
        ('SCLIP', dict(attention='early'), {SELF_ATTENTION, RESIDUALS, INNER_BLOCKS}),
        ('ResCLIP', dict(rcs=None), {SELF_ATTENTION}),
        ('CLIPSurgery', dict(feature_surgery=False), EVERYTHING - {CLS}),
        ('CLIPtrase', dict(denoise=False), EVERYTHING - {CLS}),
        ('CLIPtrase', dict(denoise=False, weigh_by_cls=True), EVERYTHING),
        ('GCLIP', dict(fused='cls'), EVERYTHING),
    ],
)
def test_what_settings_need(kind, settings, needs):
    assert needs_of(MODELS.get(kind), settings) == needs


def test_settings_can_make_a_pair_fit(backbones, words):
    kind, backbone = MODELS.get('CLIPtrase'), backbones('siglip')
    with pytest.raises(BenchError, match=r'CLIPtrase needs a \[CLS\] token'):
        check_fits(kind, dict(backbone=backbone))
    model = kind(class_names=words, templates='photo', backbone=backbone, denoise=False, window=64, stride=32)
    assert model.predict([torch.randn(3, 64, 64)])[0].pred_sem_seg.data.shape == (1, 64, 64)


def test_the_table_of_the_docs_is_what_the_command_shows():
    header, *rows = (f'| {" | ".join(row)} |' for row in matrix_rows())
    table = '\n'.join([header, '| --- ' + '| :-: ' * len(FAMILIES) + '|', *rows])
    assert table in DOCS.read_text(), f'docs/backbones.md must have this table:\n{table}'
