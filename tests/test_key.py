"""A number stands on everything that decides it: what changes it changes the key, and nothing else does."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import TINY, random_image
from mmengine.config import Config
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from plans import plain_cells, tiny_leaf
from tiny import TinyBench, run_here

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.text import text_vectors
from naclip_bench.backbones.weights import load_clip
from naclip_bench.bundled import CONFIGS
from naclip_bench.digests import file_digests
from naclip_bench.errors import BenchError
from naclip_bench.evaluation import key as key_module
from naclip_bench.evaluation.key import source_digest
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import OpenPass, Pass, passes_of
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.inference.pipeline import segment
from naclip_bench.methods.base import TrainingFreeSegmentor
from naclip_bench.methods.naclip import NACLIP
from naclip_bench.vocabulary import TEMPLATES

ROOT = CONFIGS.parent


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path, classes=(0, 3, 15, 18))


def opened(leaf: Leaf) -> OpenPass:
    return OpenPass(Pass([leaf]), Selection())


def key_of(leaf: Leaf) -> str:
    return opened(leaf).keys[0]


# ---- what changes the key


def other_class_names(bench: TinyBench, patch: pytest.MonkeyPatch) -> dict:
    names = bench.folder / 'names.txt'
    text = (ROOT / 'naclip_bench' / 'class_names' / 'voc21.txt').read_text(encoding='utf-8')
    names.write_text(text.replace('aeroplane', 'airliner'), encoding='utf-8')
    return {'model__class_names': str(names)}


def other_weights(bench: TinyBench, patch: pytest.MonkeyPatch) -> dict:
    path = bench.folder / 'other.pt'
    torch.save(
        {
            name: value * 1.5
            for name, value in load_clip(Config.fromfile(bench.arch).to_dict(), None).model.state_dict().items()
        },
        path,
    )
    return {'pretrained': path}


def other_code(bench: TinyBench, patch: pytest.MonkeyPatch) -> dict:
    patch.setattr(key_module, 'source_digest', lambda: 'changed')
    return {}


def other_versions(bench: TinyBench, patch: pytest.MonkeyPatch) -> dict:
    patch.setattr(torch, '__version__', '1.0')
    return {}


def other_prompts(bench: TinyBench, patch: pytest.MonkeyPatch) -> dict:
    patch.setitem(TEMPLATES, 'photo', ('a photo of one {}.',))
    return {}


def of(**settings: object) -> Callable[[TinyBench, pytest.MonkeyPatch], dict]:
    return lambda bench, patch: settings


#: By the part that must change: what is done.
CHANGES = {
    'method (stride)': of(model__stride=8),
    'method (sigma)': of(model__sigma=4.0),
    'method (prob_thd)': of(model__prob_thd=0.2),
    'method (refine)': of(model__refine=dict(iterations=2, dilations=(1,))),
    'dataset (pipeline)': of(test_dataloader__dataset__pipeline__1__scale=(2048, 64)),
    'dataset (ignore_index)': of(test_dataloader__dataset__ignore_index=254),
    'colors (mean)': of(model__data_preprocessor=dict(type='ImagePreprocessor', mean=(1.0, 2.0, 3.0))),
    'weights (sha256)': other_weights,
    'class names': other_class_names,
    'prompts': other_prompts,
    'precision': of(model__backbone__precision='bf16'),
    'code (naclip_bench)': other_code,
    'versions (torch)': other_versions,
    'counting': of(test_evaluator__type='AgreementMetric'),
}


def changed(old: dict, new: dict) -> list[str]:
    """Names of the parts that differ; of a group, those in it: ``method (stride, window)``."""
    names = []
    for key in (key for key in {**old, **new} if old.get(key) != new.get(key)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            key += f' ({", ".join(changed(before, after))})'
        names.append(key)
    return names


@pytest.mark.parametrize('part', CHANGES)
def test_what_decides_a_matrix_is_in_the_key(bench, monkeypatch, part):
    before = opened(tiny_leaf(bench))
    after = opened(tiny_leaf(bench, **CHANGES[part](bench, monkeypatch)))
    said = changed(before.parts[0], after.parts[0])
    assert any(name.startswith(part.rstrip(')')) for name in said), said
    assert before.keys != after.keys


@pytest.mark.parametrize(
    'settings',
    [
        dict(model__window_batch=3),
        dict(test_dataloader__batch_size=3),
        dict(test_dataloader__num_workers=1),
        # Given with its default.
        dict(model__sigma=5.0),
        dict(model__logit_scale=40.0),
        # What is made of the matrices, not what they are.
        dict(test_evaluator__type='SmoothedMetric'),
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_decides_no_matrix_is_not(bench, settings):
    assert key_of(tiny_leaf(bench, **settings)) == key_of(tiny_leaf(bench))


def test_how_many_queries_are_refined_at_once_is_not(bench):
    refine = dict(iterations=2, dilations=(1,))
    both = (tiny_leaf(bench, model__refine=dict(refine, **more)) for more in ({}, {'query_chunk': 8}))
    assert key_of(next(both)) == key_of(next(both))


def test_a_refinement_is_known_by_its_type(bench):
    pamr, named = dict(iterations=2, dilations=(1,)), dict(type='PAMR', iterations=2, dilations=(1,))
    crf = dict(type='DenseCRF')
    keys = [key_of(tiny_leaf(bench, model__refine=refine)) for refine in (pamr, named, crf, dict(crf, query_chunk=8))]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert key_of(tiny_leaf(bench, model__refine=dict(crf, color_sigma=9))) != keys[2]


def test_where_files_lie_is_not(bench, tmp_path):
    before = key_of(tiny_leaf(bench))
    shutil.copytree(bench.folder / 'data', tmp_path / 'elsewhere')
    leaf = tiny_leaf(bench)
    leaf.config.test_dataloader.dataset.data_root = str(tmp_path / 'elsewhere' / 'VOCdevkit' / 'VOC2012')
    assert key_of(leaf) == before


def test_changed_source_changes_the_digest(tmp_path, monkeypatch):
    """A copy of the package with another attention."""
    copied = tmp_path / 'naclip_bench'
    shutil.copytree(key_module.PACKAGE, copied, ignore=shutil.ignore_patterns('__pycache__'))
    before = source_digest()
    monkeypatch.setattr(key_module, 'PACKAGE', copied)
    digest = source_digest.__wrapped__
    assert digest() == before
    method = copied / 'methods' / 'naclip.py'
    method.write_text(method.read_text().replace('key, key', 'query, key'))
    after = digest()
    assert before != after
    report = copied / 'tables' / 'report.py'
    report.write_text(report.read_text() + '\n# decides no matrix\n')
    assert digest() == after


# ---- images and masks


def test_rewritten_masks_are_scored_anew(bench, tmp_path):
    store, leaf = Store(tmp_path / 'store'), tiny_leaf(bench)
    (before,) = run([Pass([leaf])], Selection(), store).values()
    for name in bench.names[:2]:
        bench.save_mask(name, np.full((64, 96), 3, np.uint8))
    (after,) = run([Pass([tiny_leaf(bench)])], Selection(), store).values()
    (fresh,) = run([Pass([tiny_leaf(bench)])], Selection(), Store(tmp_path / 'other')).values()
    assert plain_cells({leaf: after}) == plain_cells({leaf: fresh}) != plain_cells({leaf: before})
    # Images whose masks stayed are not computed again.
    assert after.record['times']['images'] == 2


def test_a_rewritten_image_is_segmented_anew(bench, tmp_path, capfd):
    assert bench.run(capfd).code == 0
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(bench.image('p3'))
    assert bench.run(capfd).code == 0
    assert bench.result()['times']['images'] == 2, 'the batch of p2 and p3'


def test_files_are_hashed_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / 'cache'))
    paths = [tmp_path / name for name in ('a', 'b', 'c')]
    for path in paths:
        path.write_bytes(b'same' if path.name != 'c' else b'other')
    first = file_digests([str(path) for path in paths])
    assert first[0] == first[1] != first[2]
    # Of the same size, and at once: its time may be the same too.
    paths[0].write_bytes(b'emas')
    assert file_digests([str(path) for path in paths])[0] != first[0]


def test_files_that_are_settled_are_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('naclip_bench.digests.SETTLED', -1.0)
    path = tmp_path / 'a'
    path.write_bytes(b'content')
    (digest,) = file_digests([str(path)])
    monkeypatch.setattr('naclip_bench.digests._digest', lambda path: pytest.fail('read again'))
    assert file_digests([str(path)]) == [digest]


def test_a_cache_that_is_no_database_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path))
    (tmp_path / 'digests.sqlite').write_bytes(b'a page of text' * 99)
    assert len(file_digests([str(tmp_path / 'digests.sqlite')])[0]) == 64
    with pytest.raises(BenchError, match=r'cannot read .*gone'):
        file_digests([str(tmp_path / 'gone')])


# ---- scores, protocol and labels are of the leaf that is read


def test_metric_and_protocol_are_read_not_stored(bench, tmp_path):
    store = Store(tmp_path / 'store')
    plain, smoothed = (tiny_leaf(bench, test_evaluator__type=kind) for kind in ('ConfusionMetric', 'SmoothedMetric'))
    smoothed.config.protocol = 'official'
    (first,) = run([Pass([plain])], Selection(), store).values()
    (second,) = run([Pass([smoothed])], Selection(), store).values()
    assert len(list(store.folder.glob('*.npz'))) == 1
    assert first.record['metrics'] != second.record['metrics']
    assert (first.record['protocol'], second.record['protocol']) == ('common', 'official')


# ---- what runs together


def test_a_preprocessor_of_ones_own_is_kept_in_a_pass(bench, tmp_path):
    leaves = [
        tiny_leaf(bench),
        tiny_leaf(bench, model__data_preprocessor=dict(type='ImagePreprocessor', mean=(20.0, 30.0, 40.0))),
    ]
    passes = passes_of(leaves)
    assert len(passes) == 2
    together = run(passes, Selection(), Store(tmp_path / 'together'))
    for number, leaf in enumerate(leaves):
        (alone,) = run([Pass([leaf])], Selection(), Store(tmp_path / str(number))).values()
        assert plain_cells({leaf: alone}) == plain_cells({leaf: together[leaf]})
    assert plain_cells({leaves[0]: together[leaves[0]]}) != plain_cells({leaves[1]: together[leaves[1]]})


def naclip(**settings: object) -> TrainingFreeSegmentor:
    backbone = settings.pop('backbone', dict(arch=TINY, pretrained=None))
    return NACLIP(class_names='voc20', templates='photo', backbone=backbone, **settings).eval()


def labels_of(members: list[TrainingFreeSegmentor]) -> list[torch.Tensor]:
    samples = [SegDataSample(metainfo=dict(ori_shape=(100, 130)))]
    return [of_member[0] for of_member in segment(members, [random_image(224, 288)[0]], samples)]


@pytest.mark.parametrize('change', ['sigma', 'class names', 'threshold', 'method', 'refinement'])
def test_a_changed_copy_shares_nothing_wrong(change):
    """What is shared follows from what methods are now, not from where they came from."""
    first = naclip()
    other = copy.deepcopy(first)
    other.backbone = first.backbone
    if change == 'sigma':
        other.sigma = 0.3
    elif change == 'class names':
        other.vocabulary = naclip(backbone=first.backbone).vocabulary.__class__('pc59', 'photo')
    elif change == 'threshold':
        other.prob_thd = 0.9
    elif change == 'refinement':
        other.refine = MODELS.build(
            dict(type='NACLIP', class_names='voc20', backbone=first.backbone, refine=dict(iterations=2, dilations=(1,)))
        ).refine
    else:
        other.attended = lambda query, key, value, trunk: value
    together = labels_of([first, other])
    assert torch.equal(together[0], labels_of([first])[0])
    assert torch.equal(together[1], labels_of([other])[0])
    assert not torch.equal(*together), 'labels that are all alike would prove nothing'
    assert (first.tokens_key == other.tokens_key) == (change in ('class names', 'threshold', 'refinement'))
    assert (first.logits_key == other.logits_key) == (change in ('threshold', 'refinement'))


def test_a_copy_with_a_backbone_of_its_own_runs_on_that():
    first = naclip()
    other = copy.deepcopy(first)
    with torch.no_grad():
        for value in other.backbone.parameters():
            value.mul_(1.2)
    together = labels_of([first, other])
    assert torch.equal(together[0], labels_of([first])[0]) and torch.equal(together[1], labels_of([other])[0])


class Forgetful(NACLIP):
    """Reads the class names on its way to tokens, and does not say so."""

    def dense_tokens(self, trunk: object) -> torch.Tensor:
        return super().dense_tokens(trunk) * len(self.vocabulary)


class Honest(Forgetful):
    reads_text = True


class Peeking(NACLIP):
    """Reads a threshold on its way to logits."""

    def match(self, tokens: torch.Tensor, text: torch.Tensor, trunk: object) -> torch.Tensor:
        return super().match(tokens, text, trunk) * (1 - self.prob_thd)


def test_text_that_is_read_in_silence_is_an_error():
    settings = dict(class_names='voc20', templates='photo', backbone=dict(arch=TINY, pretrained=None))
    with pytest.raises(BenchError, match=r'Forgetful reads vocabulary on its way to tokens.*reads_text = True'):
        labels_of([Forgetful(**settings)])
    with pytest.raises(BenchError, match='Peeking reads prob_thd on its way to patch logits'):
        labels_of([Peeking(**settings)])
    assert labels_of([Honest(**settings)])[0].shape == (100, 130)
    # Outside of a run everything can be read.
    assert len(Forgetful(**settings).vocabulary) == 20


# ---- text


def test_text_vectors_do_not_depend_on_what_the_cache_holds(tmp_path, monkeypatch):
    backbone, found = FrozenCLIP(TINY, None), []
    for number, before in enumerate(([], ['cat'], ['dog', 'a very long name of a thing'])):
        monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / str(number)))
        for query in before:
            text_vectors(backbone, [query], TEMPLATES['openai_80'])
        found.append(text_vectors(backbone, ['cat', 'dog', 'bird'], TEMPLATES['openai_80']))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_vectors_of_one_kind_of_device_serve_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path))
    backbone = FrozenCLIP(TINY, None)
    text_vectors(backbone, ['cat'], TEMPLATES['photo'])
    (entry,) = tmp_path.rglob('*.npy')
    monkeypatch.setattr(FrozenCLIP, 'device', torch.device('meta'))
    with pytest.raises((RuntimeError, NotImplementedError, ValueError, AssertionError)):
        # There is nothing to read for this device: it would have to be computed there.
        text_vectors(backbone, ['cat'], TEMPLATES['photo']).cpu()
    assert list(tmp_path.rglob('*.npy')) == [entry]


# ---- versions


def test_versions_are_those_of_the_imported_modules(monkeypatch):
    monkeypatch.setattr('mmseg.__version__', '9.9.9')
    assert key_module.versions()['mmseg'] == '9.9.9'
    assert key_module.versions(('sklearn',)).keys() == {'naclip_bench', 'python', 'sklearn'}


# ---- tables


def test_a_table_checks_everything_before_it_starts(bench, capfd):
    """And with --keep-going runs what is there, and reports it."""
    arguments = bench.arguments(
        '--datasets', 'voc21', 'cityscapes', config='naclip/table4', work_dir=bench.folder, without=('--work-dir',)
    )
    command = ROOT / 'tools' / 'reproduce.py'
    outcome = run_here(capfd, arguments, command)
    assert outcome.code == 1 and outcome.stderr.count('\n') == 1 and 'cityscapes' in outcome.stderr
    assert not (bench.folder / 'store').exists() and not outcome.stdout
    outcome = run_here(capfd, [*arguments[:1], '--keep-going', *arguments[1:]], command)
    assert outcome.code == 1 and 'not run: cityscapes: data: there is no' in outcome.stderr
    assert 'naclip/table4' in outcome.stdout and len(list((bench.folder / 'store').glob('*.npz'))) == 2


def test_a_leaf_whose_helper_is_not_there_does_not_keep_the_others(bench):
    """Those of the same images, with --keep-going; else nothing is run."""
    lacking = tiny_leaf(bench, 'proxyclip_voc21')
    lacking.config.model.helper.pretrained = 'nowhere.pth'
    whole = tiny_leaf(bench, 'naclip_voc21')
    passes, store = passes_of([lacking, whole]), Store(bench.folder / 'store')
    assert len(passes) == 1
    with pytest.raises(BenchError, match=r'nowhere\.pth'):
        run(passes, Selection(), store)
    told = []
    results = run(passes, Selection(), store, keep_going=True, skip=lambda of, error: told.append((of, str(error))))
    assert [*results] == [whole]
    ((left_out, error),) = told
    assert left_out.leaves == [lacking] and 'nowhere.pth' in error


def test_a_pass_that_fails_midway_leaves_a_report_of_the_others(bench, capfd, monkeypatch):
    arguments = bench.arguments(
        '--datasets', 'voc21', config='naclip/table4', work_dir=bench.folder, without=('--work-dir',)
    )
    content = bench.image('p3').read_bytes()
    bench.image('p3').write_bytes(content[:200])
    outcome = run_here(capfd, arguments, ROOT / 'tools' / 'reproduce.py')
    assert outcome.code == 1 and 'not run: voc21: the image' in outcome.stderr and 'naclip/table4' in outcome.stdout
