"""The check of a dataset finds each fault, by a message of its own, and none in a sound set."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TinyBench, run_here
from tiny_set import COUNT, MASKS, TinySet, assert_only, cut, make_set, own_data, problems, tiny_lists

from naclip_bench import parallel
from naclip_bench.bundled import CONFIGS, SPLITS
from naclip_bench.checks.dataset import check_dataset
from naclip_bench.checks.examine import Pair, examine
from naclip_bench.configuration import dataset_config, load_config
from naclip_bench.datasets import splits
from naclip_bench.datasets.splits import Deviation, official_list
from naclip_bench.errors import BenchError
from naclip_bench.parallel import over_cores

KNOWN = sorted(path.stem for path in (CONFIGS / '_base_' / 'datasets').glob('*.py'))
KEYS = [key for key in KNOWN if not key.startswith('materials')]  # drawn by code: nothing to check
CHECK = Path(__file__).resolve().parent.parent / 'tools' / 'check_data.py'


@pytest.fixture(autouse=True)
def lists(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    with tiny_lists(tmp_path) as names:
        yield names


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TinySet]:
    return partial(make_set, tmp_path)


# ---- the official lists


@pytest.mark.parametrize('key', KEYS)
def test_bundled_list_has_the_images_that_the_config_says(key, monkeypatch):
    monkeypatch.setattr(splits, 'SPLITS', SPLITS)
    official_list.cache_clear()
    config = load_config(dataset_config(key))
    if 'split' not in config:
        pytest.skip('which images it has follows from a rule, not from a list')
    names = official_list(config.split)
    assert len(set(names)) == len(names) == config.images
    assert list(names) == sorted(names)
    assert not any('.' in name or '/' in name for name in names)
    assert not Deviation.of([f'some_folder/{name}' for name in names], config.split)


def test_unknown_list():
    with pytest.raises(BenchError, match='no official list "vok"; did you mean "voc"'):
        official_list('vok')


def test_missing_and_extra_image(make):
    voc = make('voc21')
    gone, voc.names[3] = voc.names[3], 'stranger'
    for path in (voc.image, voc.mask):
        path(gone).rename(path('stranger'))
    voc.write_list()
    assert_only(voc.problems(), 'official list', f'missing: 1 ({gone}); extra: 1 (stranger)', 'take out what is extra')


def test_images_of_another_list(make):
    """VOC's images below Pascal Context's folder: half of them are of that list too."""
    context = make('pc60', split='voc')
    message = f'{COUNT} of {COUNT} images are of the list "voc", {COUNT // 2} of "context" | two datasets are swapped'
    assert_only(context.problems(), 'official list', message)


# ---- a sound set, and each fault


@pytest.mark.parametrize('key', MASKS)
def test_nothing_wrong_with_a_sound_set(make, key):
    sound = make(key)
    report = check_dataset(sound.config)
    assert problems(report) == {}
    assert [finding.check for finding in report.findings][-2:] == ['void', 'kind of masks'], 'signs were not looked for'
    masks, void = [sound.labels(name) for name in sound.names], MASKS[key][1]
    first = 1 if key in ('voc20', 'pc59', 'ade20k') else 0
    for index, label in enumerate(report.contents.scored):
        assert label == index + first
        assert report.contents.pixels[label] == sum((mask == label).sum() for mask in masks) > 0
        assert report.contents.images[label] == sum((mask == label).any() for mask in masks)
    assert report.contents.with_unscored == sum(((mask == void) | (mask < first)).any() for mask in masks)


def relabel(data: TinySet, name: str, label: int) -> None:
    labels = data.labels(name)
    labels[9, 2:4] = label
    data.save(name, labels)


def color(path: Path) -> None:
    Image.open(path).convert('RGB').save(path)


#: What is done to one file, the check that finds it, and its message.
FAULTS = {
    'missing mask': (lambda s, n: s.mask(n).unlink(), 'masks there', '1 of 12 masks are missing'),
    'missing image': (lambda s, n: s.image(n).unlink(), 'images there', '1 of 12 images are missing'),
    'half an image': (lambda s, n: cut(s.image(n)), 'images whole', '1 of 12 images end in the middle'),
    'no image': (lambda s, n: s.image(n).write_text('a'), 'images whole', '1 of 12 images cannot be decoded'),
    'half a mask': (lambda s, n: cut(s.mask(n)), 'masks whole', '1 of 12 masks end in the middle'),
    'no mask': (lambda s, n: s.mask(n).write_text('a'), 'masks whole', '1 of 12 masks cannot be decoded'),
    'lossy': (
        lambda s, n: Image.open(s.mask(n)).save(s.mask(n), 'JPEG'),
        'lossless',
        '1 of 12 masks are in a lossy format, which changes labels',
    ),
    'other size': (lambda s, n: s.save(n, s.labels(n)[4:]), 'sizes agree', 'context_05: 36x32 for 40x32'),
    'RGB mask': (lambda s, n: color(s.mask(n)), 'one label a pixel', '1 of 12 masks hold colors in place of labels'),
    'label outside': (
        lambda s, n: relabel(s, n, 60),
        'labels in range',
        'masks hold labels outside 1..59 (60): ',
    ),
    'listed twice': (lambda s, n: s.list.write_text('\n'.join([*s.names, n])), 'listed once', 'more than once: 1'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_fault_of_one_file_has_its_own_message(make, fault):
    context, name = make('pc59'), 'context_05'
    damage, check, message = FAULTS[fault]
    damage(context, name)
    assert_only(context.problems(), check, message, name)


def test_several_faults_are_all_told_and_only_the_first_files(make):
    voc = make('voc21')
    for name in voc.names[:5]:
        cut(voc.image(name))
    voc.mask(voc.names[7]).write_text('a page')
    found = voc.problems()
    assert list(found) == ['images whole', 'masks whole']
    assert found['images whole'].startswith('5 of 12 images end in the middle: voc_00; voc_01; voc_02; ... |')
    assert found['masks whole'].startswith('1 of 12 masks cannot be decoded: voc_07 |')


def test_mask_without_its_image_where_the_folder_is_the_list(make):
    ade = make('ade20k')
    ade.image(ade.names[4]).unlink()
    found = ade.problems()
    assert list(found) == ['official list', 'no mask alone']
    assert found['no mask alone'].startswith('masks without their image: 1 (ade20k_04.png) |')


# ---- fingerprint


def test_fingerprint_is_of_names_and_labels_alone(make):
    voc = make('voc21')
    expected = hashlib.sha256()
    for name in sorted(voc.names):
        mask = voc.labels(name)
        content = np.array(mask.shape, '<u4').tobytes() + mask.astype('<u2').tobytes()
        expected.update(name.encode() + b'\0' + hashlib.sha256(content).digest())
    assert check_dataset(voc.config).contents.fingerprint == expected.hexdigest()

    name = voc.names[3]
    colored = Image.open(voc.mask(name))
    colored.putpalette(list(range(256)) * 3)
    colored.save(voc.mask(name), compress_level=0)
    Image.fromarray(voc.labels(voc.names[4]).astype(np.uint16)).save(voc.mask(voc.names[4]))
    voc.names.reverse()
    voc.write_list()
    assert check_dataset(voc.config).contents.fingerprint == expected.hexdigest()

    relabel(voc, voc.names[5], 3)
    changed = check_dataset(voc.config).contents.fingerprint
    assert changed != expected.hexdigest()
    voc.mask(name).unlink()
    assert check_dataset(voc.config).contents.fingerprint is None


# ---- files and processes


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_size_is_that_of_the_upright_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    Image.new('RGB', (32, 16)).save(tmp_path / 'a.jpg', exif=exif)
    mask = np.zeros((16, 32) if orientation < 5 else (32, 16), np.uint8)
    Image.fromarray(mask).save(tmp_path / 'a.png')
    assert examine(Pair(str(tmp_path / 'a.jpg'), str(tmp_path / 'a.png'))).faults == {}


def test_labels_of_sixteen_bits(tmp_path):
    labels = np.array([[0, 255, 256], [65535, 458, 458]], np.uint16)
    Image.fromarray(labels).save(tmp_path / 'a.png')
    found = examine(Pair(None, str(tmp_path / 'a.png')))
    assert found.labels.tolist() == [0, 255, 256, 458, 65535] and found.pixels.tolist() == [1, 1, 1, 2, 1]


def test_processes_change_nothing(make, monkeypatch):
    """Also where pairs are many enough that other processes do the work."""
    voc = make('voc21')
    pairs = [Pair(str(voc.image(name)), str(voc.mask(name))) for name in voc.names] * 6
    cut(voc.image(voc.names[1]))
    digests = []
    for cores in (1, 2):
        monkeypatch.setattr(parallel, 'cores', lambda cores=cores: cores)
        digests.append([(found.digest, found.faults) for found in over_cores(examine, pairs, 'test', fork=False)])
    assert digests[0] == digests[1]
    assert sum('image truncated' in faults for _, faults in digests[0]) == 6


def test_processes_start_without_torch():
    code = 'import sys, naclip_bench.checks.examine; sys.exit("torch" in sys.modules or "mmseg" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=CHECK.parent.parent, check=False).returncode == 0


class Killed:
    def __reduce__(self):
        return os._exit, (1,)


def test_killed_process_is_told(monkeypatch):
    monkeypatch.setattr(parallel, 'cores', lambda: 2)
    with pytest.raises(BenchError, match='test: a process was killed'):
        list(over_cores(examine, [Pair(Killed(), None)] * 64, 'test', fork=False))


# ---- the commands


def test_command(make, capfd):
    voc, ade = make('voc21'), make('ade20k')
    arguments = ['voc21', 'ade20k', '--data-root', voc.data]
    outcome = run_here(capfd, arguments, CHECK)
    assert outcome.code == 0 and outcome.stderr == ''
    for key, data in (('voc21', voc), ('ade20k', ade)):
        assert check_dataset(data.config).contents.fingerprint in outcome.stdout, key
    pixels = sum((voc.labels(name) == 20).sum() for name in voc.names)
    assert any(line.split() == ['tvmonitor', str(pixels), '1'] for line in histogram(outcome.stdout))

    cut(voc.image(voc.names[2]))
    assert run_here(capfd, [*arguments, '--quick'], CHECK).code == 0
    outcome = run_here(capfd, arguments, CHECK)
    assert outcome.code == 1 and 'voc_02' in outcome.stdout
    assert check_dataset(ade.config).contents.fingerprint in outcome.stdout, 'the second set is checked all the same'
    ade.mask(ade.names[2]).unlink()
    assert run_here(capfd, [*arguments, '--quick'], CHECK).code == 1


def histogram(printed: str) -> list[str]:
    """A class a line, whatever stands beside it."""
    return [line[first : first + 40] for line in printed.splitlines() for first in range(0, len(line))]


def test_command_without_the_data(tmp_path, capfd):
    outcome = run_here(capfd, ['voc21', '--data-root', tmp_path], CHECK)
    assert outcome.code == 1 and 'there is no' in outcome.stdout and 'naclip-bench' in outcome.stdout
    outcome = run_here(capfd, ['voc12'], CHECK)
    assert outcome.code == 1 and outcome.stderr.startswith('error: there is no dataset or config voc12; did you mean')
    assert outcome.stderr.count('\n') == 1


def test_own_data_by_a_config(tmp_path, capfd):
    """No official list, and no kind of masks to expect."""
    config = own_data(tmp_path, ('background', 'cat', 'dog'))
    assert run_here(capfd, [config], CHECK).code == 0
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(tmp_path / 'masks' / '7.png')
    outcome = run_here(capfd, [config], CHECK)
    assert outcome.code == 1 and 'outside 0..2 (3)' in outcome.stdout
    assert outcome.stdout.endswith('mine: 1 check failed\n')


def test_class_names_are_no_markup(tmp_path, capfd):
    config = own_data(tmp_path, ('[red]a[/red]', 'car [/front]', 'dog\\'))
    outcome = run_here(capfd, [config], CHECK)
    assert outcome.code == 0 and outcome.stderr == '' and outcome.stdout.endswith('mine: sound\n')
    assert all(name in outcome.stdout for name in ('[red]a[/red]', 'car [/front]', 'dog\\'))


def test_a_run_says_that_its_data_are_not_the_official_list(tmp_path, lists, capfd):
    bench = TinyBench(tmp_path)
    outcome = bench.run(capfd)
    assert outcome.code == 0
    lines = [line for line in outcome.stdout.splitlines() if line.startswith('note: ')]
    lacks, has = 'missing: 12 (voc_00, voc_01, voc_02, ...)', 'extra: 4 (p0, p1, p2, ...)'
    assert lines == [f'note: the data are not the official list "voc": {lacks}; {has}']
    assert 'of the list "voc" 12 are missing, 4 are extra' in outcome.stdout
    assert bench.result()['images']['official_list'] == {'name': 'voc', 'missing': 12, 'extra': 4}

    (tmp_path / 'splits' / 'voc.txt').write_text('p0\np1\np2\np3\n')
    official_list.cache_clear()
    outcome = bench.run(capfd, '--limit', '2', work_dir=tmp_path / 'whole')
    assert outcome.code == 0 and 'official list' not in outcome.stdout
    result = json.loads((tmp_path / 'whole' / 'result.json').read_text())
    assert result['images']['official_list'] == {'name': 'voc', 'missing': 0, 'extra': 0}


def test_real_images_have_nothing_wrong_but_that_they_are_few(real_data, monkeypatch):
    monkeypatch.setattr(splits, 'SPLITS', SPLITS)
    official_list.cache_clear()
    for key in sorted(MASKS.keys() - {'cityscapes', 'pc459', 'ade847'}):
        found = problems(check_dataset(load_config(dataset_config(key), str(real_data))))
        assert list(found) == ['official list'] and 'extra: none' in found['official list'], key
