"""Files, code and runs that change beside a run: no number is shown for another's."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import TINY, random_image
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from plans import plain_cells, tiny_leaf
from processes import run_spread
from tiny import TinyBench

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones import text as text_module
from naclip_bench.bundled import CONFIGS
from naclip_bench.configuration import load_config
from naclip_bench.datasets.preprocessor import ImagePreprocessor
from naclip_bench.datasets.same_images import image_key
from naclip_bench.errors import BenchError
from naclip_bench.evaluation import key as key_module
from naclip_bench.evaluation import run as run_module
from naclip_bench.evaluation.leaf import Leaf, Selection
from naclip_bench.evaluation.opened import OpenPass, Pass, passes_of
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.inference.pipeline import segment
from naclip_bench.json_files import plain
from naclip_bench.methods.naclip import NACLIP
from naclip_bench.vocabulary import TEMPLATES


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path / 'bench', classes=(0, 3, 15, 18))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'store')


def copied(bench: TinyBench) -> Leaf:
    """The leaf on a copy of the data."""
    folder = bench.folder / 'copy' / 'VOCdevkit' / 'VOC2012'
    shutil.copytree(bench.voc, folder)
    leaf = tiny_leaf(bench)
    leaf.config.test_dataloader.dataset.data_root = str(folder)
    return leaf


def with_other_masks(bench: TinyBench) -> Leaf:
    """The leaf on a copy of the data with other masks."""
    leaf = copied(bench)
    for path in (bench.folder / 'copy').rglob('p*.png'):
        Image.fromarray(np.full((64, 96), 3, np.uint8)).save(path)
    return leaf


def alone(leaf: Leaf, folder: Path) -> list[dict]:
    return plain_cells(run([Pass([leaf])], Selection(), Store(folder)))


def key_of(leaf: Leaf) -> str:
    return OpenPass(Pass([leaf]), Selection()).keys[0]


# ---- leaves side by side


def test_the_same_images_with_other_masks_in_one_pass(bench, store, tmp_path):
    leaves = [tiny_leaf(bench), with_other_masks(bench)]
    passes = passes_of(leaves)
    assert len(passes) == 1
    together = run(passes, Selection(), store)
    for number, leaf in enumerate(leaves):
        assert plain_cells({leaf: together[leaf]}) == alone(leaf, tmp_path / str(number))
    assert plain_cells(run(passes, Selection(), store)) == plain_cells(together)


def test_images_of_the_same_names_and_sizes_on_disk_are_not_the_same(bench, store, tmp_path):
    leaves = [tiny_leaf(bench), copied(bench)]
    assert len(passes_of(leaves)) == 1
    for path in (bench.folder / 'copy').rglob('p*.jpg'):
        size = path.stat().st_size
        Image.fromarray(np.full((64, 96, 3), 90, np.uint8)).save(path)
        # Bytes behind the end of a JPEG are no part of the image.
        path.write_bytes(path.read_bytes().ljust(size, b'\0'))
        assert path.stat().st_size == size
    passes = passes_of(leaves)
    assert len(passes) == 2
    together = run(passes, Selection(), store)
    assert plain_cells({leaves[1]: together[leaves[1]]}) == alone(leaves[1], tmp_path / 'alone')


class Keeping(NACLIP):
    """Keeps things in itself on the way."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.known: dict = {}

    def dense_tokens(self, trunk: object) -> torch.Tensor:
        self.known[len(self.known)] = self.known[str(len(self.known))] = 1
        return super().dense_tokens(trunk)


def test_a_method_may_keep_things_in_itself():
    settings = dict(class_names='voc20', templates='photo', window=64, stride=64, window_batch=1)
    method = Keeping(backbone=dict(arch=TINY, pretrained=None), **settings).eval()
    samples = [SegDataSample(metainfo=dict(ori_shape=(128, 128)))]
    ((labels,),) = segment([method], [random_image(128, 128)[0]], samples)
    assert labels.shape == (128, 128) and len(method.known) > 2


# ---- other runs meanwhile


def test_what_a_run_on_other_masks_put_meanwhile_is_not_read(bench, store, monkeypatch):
    leaf, other, read = tiny_leaf(bench), with_other_masks(bench), run_module.read_results

    def run_then_read(*given: object) -> dict:
        monkeypatch.setattr(run_module, 'read_results', read)
        run([Pass([other])], Selection(), store)
        return read(*given)

    monkeypatch.setattr(run_module, 'read_results', run_then_read)
    with pytest.raises(BenchError, match='npz was changed meanwhile, by a run on other files'):
        run([Pass([leaf])], Selection(), store)


def test_what_another_process_finished_meanwhile_is_not_computed_again(bench, store, monkeypatch):
    leaf = tiny_leaf(bench)
    run([Pass([leaf])], Selection(), store)
    # As it was before the other process put it.
    monkeypatch.setattr(store, 'digests', lambda key: {})
    (result,) = run([Pass([leaf])], Selection(), store).values()
    assert result.record['times']['images'] == 4
    assert len(store.get(result.record['hashes']['run']).about['sessions']) == 1


def test_a_waiting_pass_that_fails_is_told_as_any_other(bench, store, monkeypatch):
    passes = [Pass([tiny_leaf(bench)])]
    told = []

    def broken(seconds: float) -> None:
        raise BenchError('broken meanwhile')

    monkeypatch.setattr(run_module.time, 'sleep', broken)
    with Store(store.folder).claimed([key_of(passes[0].leaves[0])]):
        assert run(passes, Selection(), store, skip=lambda pass_, error: told.append(str(error))) == {}
    assert told == ['broken meanwhile']


def test_fresh_is_fresh_also_behind_another_process(bench, store, monkeypatch):
    passes = [Pass([tiny_leaf(bench)])]
    run(passes, Selection(), store)
    claim = Store(store.folder).claimed([key_of(passes[0].leaves[0])])
    claim.__enter__()
    monkeypatch.setattr(run_module.time, 'sleep', lambda seconds: claim.__exit__(None, None, None))
    (result,) = run(passes, Selection(), store, fresh=True).values()
    assert len(store.get(result.record['hashes']['run']).about['sessions']) == 2


def test_predictions_of_an_older_image_are_written_again(bench, capfd):
    wanted = ('--save-predictions', str(bench.folder / 'predictions'))
    assert bench.run(capfd, *wanted).code == 0
    path = bench.folder / 'predictions' / 'p0.png'
    before = path.stat().st_mtime_ns
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(bench.image('p0'))
    assert bench.run(capfd).code == 0
    assert bench.run(capfd, *wanted).code == 0
    assert path.stat().st_mtime_ns != before


def test_a_regression_over_processes_has_one_verdict(bench):
    tool = CONFIGS.parent / 'tools' / 'regress.py'
    where = ['--expected', str(bench.folder / 'expected.json'), '--launcher', 'pytorch']
    given = bench.arguments(without=('--work-dir', '--store'))
    recorded = run_spread([*where, '--record', *given], 2, bench.folder / 'recorded', tool)
    assert recorded.code == 0, recorded.stderr
    assert recorded.stdout.count('written to') == 1
    compared = run_spread([*where, '--data-root', str(bench.folder / 'data')], 2, bench.folder / 'compared', tool)
    assert compared.code == 0, compared.stdout + compared.stderr
    assert compared.stdout.count('1 as expected, 0 not') == 1 and 'FAIL' not in compared.stdout


# ---- keys


def test_drawn_images_of_other_arguments_are_not_the_same():
    dataset = load_config('naclip_materials24').test_dataloader.dataset
    assert image_key(dataset, {}) == image_key({**dataset, 'metainfo': dict(classes=('a',))}, {})
    assert image_key(dataset, {}) != image_key({**dataset, 'seed': 5}, {})


def test_infinity_is_another_value_than_none():
    assert plain({'a': float('inf')}, finite_only=False) != plain({'a': None}, finite_only=False)
    assert plain(float('inf')) is None


class Darker(ImagePreprocessor):
    """A preprocessor that is given more than colors."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share


def test_all_settings_of_a_preprocessor_are_in_the_key(bench, monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'Darker', Darker)

    def key(**given: float) -> str:
        return key_of(tiny_leaf(bench, model__data_preprocessor=dict(type='Darker', **given)))

    assert key() == key(share=0.5) != key(share=0.25)


def test_a_setting_of_a_dataset_given_with_its_default_is_no_other(bench):
    assert key_of(tiny_leaf(bench, test_dataloader__dataset__max_refetch=1000)) == key_of(tiny_leaf(bench))


@pytest.mark.parametrize(
    ('module', 'beside'), [('own_package.methods.mine', 'own_package/helper.py'), ('own_file', 'own_helper.py')]
)
def test_files_beside_a_method_of_ones_own_are_in_the_key(tmp_path, monkeypatch, module, beside):
    path, helper = tmp_path / f'{module.replace(".", "/")}.py', tmp_path / beside
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in list(path.parents)[: module.count('.')]:
        (folder / '__init__.py').touch()
    helper.write_text('factor = 1\n')
    name = beside.removesuffix('.py').replace('/', '.')
    path.write_text(f'from {name} import factor\n\n\nclass Mine:\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    mine = import_module(module).Mine
    before = key_module.foreign_digests([mine])
    helper.write_text('factor = 2\n')
    # What runs is what was imported, whatever the file holds since.
    assert key_module.foreign_digests([mine]) == before
    key_module._source_around.cache_clear()
    assert key_module.foreign_digests([mine]) != before
    for imported in [one for one in sys.modules if one.startswith('own_')]:
        monkeypatch.delitem(sys.modules, imported)


# ---- text


def test_words_cut_alike_are_found_also_where_all_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path))
    backbone, long = FrozenCLIP(TINY, None), 'very ' * 80
    for query in (f'{long}red', f'{long}blue'):
        text_module.text_vectors(backbone, [query], TEMPLATES['photo'])
    with pytest.raises(BenchError, match='differ only behind them'):
        text_module.text_vectors(backbone, [f'{long}red', f'{long}blue'], TEMPLATES['photo'])
