"""Subsets: the rule, the files in data/subsets, and the command that makes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_bad_inputs import assert_one_line
from tiny import COMMAND, Outcome, TinyBench, run_here

from naclip_bench import bundled
from naclip_bench.bundled import SUBSETS
from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import dataset_config, load_config
from naclip_bench.datasets import subset
from naclip_bench.datasets.check import image_names, select
from naclip_bench.datasets.subset import pick, read_subset, short_names, shown_classes, subset_text
from naclip_bench.errors import BenchError

MAKE = COMMAND.with_name('make_subset.py')

#: Official lists by dataset.
LISTS = {
    'voc21': 'voc_imgs.txt',
    'pc60': 'context_imgs.txt',
    'ade20k': 'ade_imgs.txt',
    'cityscapes': 'cityscapes_imgs.txt',
    'coco_stuff': 'coco_val2017.txt',
}
SPLITS = Path(__file__).resolve().parents[2] / 'shared' / 'splits'


def draw_of(names: list[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f'{seed} {name}'.encode()).hexdigest())


# ---- the rule


def test_draw_alone():
    names = [f'p{index}' for index in range(40)]
    assert pick(names, 7, 3, {}) == sorted(draw_of(names, 3)[:7])
    assert pick(names, 7, 4, {}) != pick(names, 7, 3, {})
    assert pick(names, 40, 3, {}) == sorted(names)


def test_rarest_class_comes_first_and_takes_the_image_that_covers_most():
    shown = {'a': {0, 1}, 'b': {0, 1}, 'c': {0, 5}, 'd': {0, 1, 5}, 'e': {0, 9}, 'f': {0, 1}, 'g': {1}}
    names = [*shown, 'x', 'y']
    # 9 is in one image, 5 in two, of which d has 1 besides; 0 and 1 are covered by then.
    assert pick(names, 1, 0, shown) == ['e']
    assert pick(names, 2, 0, shown) == ['d', 'e']
    rest = [name for name in draw_of(names, 0) if name not in 'de']
    assert pick(names, 4, 0, shown) == sorted(['d', 'e', *rest[:2]])


def test_among_equals_the_first_drawn_covers():
    names = list('abcdefgh')
    for seed in range(4):
        assert pick(names, 1, seed, {name: {3} for name in names}) == draw_of(names, seed)[:1]


@given(st.dictionaries(st.integers(0, 99).map(str), st.frozensets(st.integers(0, 8)), min_size=1), st.data())
def test_every_class_is_covered_where_there_is_room_and_order_does_not_matter(shown, data):
    names = data.draw(st.permutations(list(shown)))
    count = data.draw(st.integers(1, len(names)))
    picked = pick(names, count, 0, shown)
    assert picked == sorted(set(picked)) and len(picked) == count
    assert picked == pick(sorted(names), count, 0, dict(sorted(shown.items())))
    everything = frozenset().union(*shown.values())
    if count >= len(everything):
        assert frozenset().union(*(shown[name] for name in picked)) == everything


@pytest.mark.parametrize('count', [0, 4])
def test_more_images_than_there_are(count):
    with pytest.raises(BenchError, match=f'cannot pick {count} of 3 images'):
        pick(['a', 'b', 'c'], count, 0, {})


def test_image_that_stands_twice():
    with pytest.raises(BenchError, match='b stands 2 times'):
        pick(['a', 'b', 'b'], 1, 0, {})


def test_folders_are_kept_only_where_they_are_needed():
    assert short_names(['x/a', 'y/b']) == ['a', 'b']
    assert short_names(['x/a', 'y/a']) == ['x/a', 'y/a']


def test_classes_are_those_that_are_scored(tmp_path):
    bench = TinyBench(tmp_path, classes=(0, 3, 7))
    bench.save_mask('p1', np.full((64, 96), 255, np.uint8))
    for key, expected in (('voc21', {0, 3, 7}), ('voc20', {2, 6})):
        dataset = build_dataset(load_config(f'naclip_{key}', str(tmp_path / 'data')).test_dataloader.dataset)
        assert shown_classes(dataset) == [expected, frozenset(), expected, expected]


# ---- the files


@pytest.mark.parametrize('count', [50, 300])
@pytest.mark.parametrize('key', LISTS)
def test_bundled_subsets_follow_the_rule(key, count, real_data):
    """Made again from the official list and the masks at hand, they are the same to the byte."""
    config = load_config(dataset_config(key), str(real_data))
    suffix = config.test_dataloader.dataset.img_suffix
    names = [name.removesuffix(suffix) for name in (SPLITS / LISTS[key]).read_text().split()]
    shown, classes = {}, {'pc60': 60, 'cityscapes': 19}.get(key, 0)
    # Pascal Context's at hand are made up of other masks, and show too few of its classes.
    if not classes:
        dataset = build_dataset(config.test_dataloader.dataset)
        shown = dict(zip(short_names(image_names(dataset)), shown_classes(dataset), strict=True))
        classes = len(dataset.metainfo['classes'])
    text = (SUBSETS / f'{key}_{count}.txt').read_text()
    assert text == subset_text(key, names, count, 0, shown, classes)
    assert len(read_subset(Path(f'{key}_{count}'))) == count


def test_the_subset_of_drawn_images_follows_the_rule(tmp_path, capfd):
    out = tmp_path / 'made.txt'
    outcome = run_here(capfd, ['materials24', '100', '--out', out], COMMAND.with_name('make_subset.py'))
    assert outcome.code == 0, outcome.stderr
    assert out.read_text() == (SUBSETS / 'materials24_100.txt').read_text()


def test_subset_says_what_it_covers():
    shown = {'a': {0}, 'b': {1, 2}}
    assert subset_text('mine', ['c', 'b', 'a'], 2, 5, shown, 4).splitlines() == [
        '# 2 of the 3 images of mine; 3 of 4 classes covered, by the masks of 2',
        '# naclip-bench data subset mine 2 --seed 5',
        f'# rule: {subset.RULE}',
        'a',
        'b',
    ]
    assert '1 of the 1 images of mine; drawn without masks' in subset_text('mine', ['a'], 1, 0, {}, 4)


def test_cityscapes_images_are_found_in_their_folders():
    names = [f'frankfurt/{name}' for name in read_subset(Path('cityscapes_50'))]
    assert select(names, None, Path('cityscapes_50'), '_leftImg8bit.png') == list(range(50))


# ---- the commands


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyBench:
    monkeypatch.setattr(subset, 'SUBSETS', tmp_path / 'subsets')
    monkeypatch.setattr(bundled, 'SUBSETS', tmp_path / 'subsets')
    bench = TinyBench(tmp_path, classes=(0, 3))
    bench.save_mask('p2', np.array(Image.open(bench.mask('p2'))) // 255 * 254 + 1)
    return bench


def make(bench: TinyBench, capfd: pytest.CaptureFixture, *arguments: object) -> Outcome:
    return run_here(capfd, [*arguments, '--data-root', bench.folder / 'data'], MAKE)


def test_made_and_run_by_its_name(bench, capfd):
    outcome = make(bench, capfd, 'voc21', 2)
    path = bench.folder / 'subsets' / 'voc21_2.txt'
    assert outcome.code == 0
    assert '2 of the 4 images of voc21; 3 of 21 classes covered, by the masks of 4' in outcome.stdout
    names = read_subset(Path('voc21_2'))
    assert len(names) == 2 and 'p2' in names
    text, time = path.read_text(), path.stat().st_mtime_ns
    assert bench.run(capfd, '--subset', 'voc21_2').code == 0
    assert list(bench.finished()) == names
    images = bench.result()['images']
    assert (images['count'], images['official'], images['subset']) == (2, 1449, 'voc21_2')
    assert make(bench, capfd, 'voc21', 2).code == 0
    assert (path.read_text(), path.stat().st_mtime_ns) == (text, time)


def test_made_from_a_list_without_data(bench, capfd):
    listed = bench.folder / 'all.txt'
    listed.write_text('x.jpg\ny.jpg\n\n# z.jpg\n')
    out, nowhere = bench.folder / 'out.txt', bench.folder / 'nowhere'
    arguments = ['voc21', 1, '--list', listed, '--out', out, '--data-root', nowhere]
    assert run_here(capfd, arguments, MAKE).code == 0
    assert read_subset(out) == draw_of(['x', 'y'], 0)[:1]
    # Data of which the list has but one image: its mask counts.
    listed.write_text('x.jpg\np2.jpg\n')
    out.unlink()
    assert make(bench, capfd, 'voc21', 1, '--list', listed, '--out', out).code == 0
    assert read_subset(out) == ['p2'] and '1 of 21 classes covered, by the masks of 1' in out.read_text()


@pytest.mark.parametrize(
    ('arguments', 'fragments'),
    [
        pytest.param(('voc12', 2), ('no dataset or config voc12', 'did you mean "voc21"'), id='dataset'),
        pytest.param(('voc21', 5), ('cannot pick 5 of 4 images',), id='too many'),
        pytest.param(('voc21', 'few'), ("'few'",), id='no number'),
        pytest.param(('ade20k', 2), ('ADEChallengeData2016', '--data-root'), id='no data'),
        pytest.param(('voc21', 2, '--list', 'nowhere.txt'), ('list of images nowhere.txt',), id='no list'),
        pytest.param(('voc21', 2, '--seed', '1'), ('voc21_2.txt holds another subset', '--out'), id='another seed'),
        pytest.param(('voc21', 2, '--out', '/proc/x/y'), ('--out', '/proc/x/y'), id='cannot be written'),
    ],
)
def test_subset_that_cannot_be_made(bench, capfd, arguments, fragments):
    assert make(bench, capfd, 'voc21', 2).code == 0
    before = (bench.folder / 'subsets' / 'voc21_2.txt').read_text()
    assert_one_line(make(bench, capfd, *arguments), *fragments)
    assert [path.read_text() for path in (bench.folder / 'subsets').iterdir()] == [before]


def test_unknown_subset(bench, capfd):
    assert make(bench, capfd, 'voc21', 2).code == 0
    assert_one_line(bench.run(capfd, '--subset', 'voc21_3'), 'no file voc21_3', 'did you mean "voc21_2"')
