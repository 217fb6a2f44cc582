"""The check of a dataset finds each fault, by a message of its own, and none in a sound set."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import PascalContextDataset59, PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image
from tiny import TinyBench, run_here

from naclip_bench import parallel
from naclip_bench.bundled import CONFIGS
from naclip_bench.configuration import dataset_config, load_config
from naclip_bench.data.check.dataset import Report, verify
from naclip_bench.data.check.examine import Pair, examine
from naclip_bench.data.check.order import FREQUENT, order_findings
from naclip_bench.datasets import splits
from naclip_bench.datasets.check import build_dataset
from naclip_bench.datasets.splits import Deviation, official_list, split_names
from naclip_bench.errors import BenchError
from naclip_bench.parallel import over_cores

KNOWN = sorted(path.stem for path in (CONFIGS / '_base_' / 'datasets').glob('*.py'))
KEYS = [key for key in KNOWN if not key.startswith('materials')]  # drawn by code: nothing to check
CHECK = Path(__file__).resolve().parent.parent / 'tools' / 'check_data.py'
COUNT, SIZE = 12, (10, 8)


@pytest.fixture(autouse=True)
def lists(tmp_path, monkeypatch):
    """Official lists of a dozen images; every other one of "voc" is of "context" too, as two thirds really are."""
    folder = tmp_path / 'splits'
    folder.mkdir()
    names = {split: [f'{split}_{index:02}' for index in range(COUNT)] for split in split_names()}
    names['context'][::2] = names['voc'][::2]
    for split, listed in names.items():
        (folder / f'{split}.txt').write_text('\n'.join(listed) + '\n')
    monkeypatch.setattr(splits, 'SPLITS', folder)
    official_list.cache_clear()
    yield names
    official_list.cache_clear()


class TinySet:
    """The images of an official list, and masks between them of all ``labels``, with or without ``void``."""

    def __init__(self, folder: Path, key: str, labels: range, void: int | None = None, split: str | None = None):
        self.key, self.data = key, folder / 'data'
        config = load_config(dataset_config(key), str(self.data))
        self.config, settings = config, config.test_dataloader.dataset
        root = Path(settings.data_root)
        self.images, self.masks = (root / settings.data_prefix[part] for part in ('img_path', 'seg_map_path'))
        self.suffixes = settings.img_suffix, settings.seg_map_suffix
        self.names = list(official_list(split or config.split))
        for path in (self.images, self.masks):
            path.mkdir(parents=True, exist_ok=True)
        self.list = root / settings.ann_file if settings.get('ann_file') else None
        if self.list:
            self.list.parent.mkdir(parents=True)
            self.write_list()
        image = Image.new('RGB', SIZE[::-1], (90, 120, 30)).resize((32, 40))
        for index, name in enumerate(self.names):
            image.save(self.image(name))
            mask = np.resize(labels[index::COUNT], SIZE).repeat(4, 0).repeat(4, 1)
            mask[:4] = mask[0, 0] if void is None else void
            self.save(name, mask)

    def write_list(self) -> None:
        self.list.write_text('\n'.join(self.names) + '\n')

    def image(self, name: str) -> Path:
        return self.images / f'{name}{self.suffixes[0]}'

    def mask(self, name: str) -> Path:
        return self.masks / f'{name}{self.suffixes[1]}'

    def labels(self, name: str) -> np.ndarray:
        return np.array(Image.open(self.mask(name)))

    def save(self, name: str, labels: np.ndarray) -> None:
        Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(self.mask(name))

    def problems(self, **settings: object) -> dict[str, str]:
        """What is wrong and how to mend it, by check."""
        for key, value in settings.items():
            self.config.test_dataloader.dataset[key] = value
        return problems(verify(self.config))


def problems(report: Report) -> dict[str, str]:
    wrong = [finding for finding in report.findings if finding.problem]
    assert all(finding.mend for finding in wrong)
    assert report.sound == (not wrong)
    assert len({finding.check for finding in wrong}) == len(wrong)
    return {finding.check: f'{finding.problem} | {finding.mend}' for finding in wrong}


def assert_only(found: dict[str, str], check: str, *fragments: str) -> None:
    assert list(found) == [check]
    for fragment in fragments:
        assert fragment in found[check]


#: Labels and void of the official masks.
MASKS = {
    'voc21': (range(21), 255),
    'voc20': (range(21), 255),
    'pc60': (range(60), None),
    'pc59': (range(60), None),
    'coco_object': (range(81), None),
    'coco_stuff': (range(171), 255),
    'cityscapes': (range(19), 255),
    'ade20k': (range(151), None),
    'pc459': (range(459), 65535),
    'ade847': (range(847), 65535),
}


@pytest.fixture
def make(tmp_path) -> Callable[..., TinySet]:
    def make(key: str, masks: str | tuple | None = None, **more: object) -> TinySet:
        labels, void = masks if isinstance(masks, tuple) else MASKS[masks or key]
        return TinySet(tmp_path, key, labels, void, **more)

    return make


# ---- the official lists


@pytest.mark.parametrize('key', KEYS)
def test_bundled_list_has_the_images_that_the_config_says(key, monkeypatch):
    monkeypatch.undo()
    official_list.cache_clear()
    config = load_config(dataset_config(key))
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
    report = verify(sound.config)
    assert problems(report) == {}
    assert [finding.check for finding in report.findings][-2:] == ['void', 'kind of masks'], 'signs were not looked for'
    masks, void = [sound.labels(name) for name in sound.names], MASKS[key][1]
    first = 1 if key in ('voc20', 'pc59', 'ade20k') else 0
    for index, label in enumerate(report.contents.scored):
        assert label == index + first
        assert report.contents.pixels[label] == sum((mask == label).sum() for mask in masks) > 0
        assert report.contents.images[label] == sum((mask == label).any() for mask in masks)
    assert report.contents.with_unscored == sum(((mask == void) | (mask < first)).any() for mask in masks)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 40])


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


# ---- masks of another kind


@pytest.mark.parametrize('lost', ['into background', 'in most masks'])
def test_void_border_lost(make, lost):
    voc = make('voc21')
    for name in voc.names[: COUNT if lost == 'into background' else 7]:
        voc.save(name, voc.labels(name) % 255)
    count = COUNT if lost == 'into background' else 7
    assert_only(voc.problems(), 'void', f'void border lost: {count} of {COUNT} masks', 'every object')


UNREDUCED = {'reduce_zero_label': False}

#: A dataset, the masks that lie in its place, settings, which checks find it besides "kind of masks", what it is taken
#: for, and the remedy.
OTHERS = {
    'ADE20K reduced already': ('ade20k', (range(150), 255), {}, ['void'], 'ADE20K with one taken off', 'one off again'),
    'Context reduced already': ('pc59', (range(59), 255), {}, ['void'], 'Context with one taken off', 'one off again'),
    'VOC reduced already': ('voc20', (range(20), 255), {}, [], 'VOC with one taken off', 'one off again'),
    'ADE20K not reduced': ('ade20k', 'ade20k', UNREDUCED, ['labels in range', 'void'], 'ADE20K,', 'zero_label=True'),
    'ADE20K not reduced, no 150': ('ade20k', (range(149), None), UNREDUCED, ['void'], 'ADE20K,', 'zero_label=True'),
    'VOC for Context': ('pc60', 'voc21', {}, ['void'], 'Pascal VOC,', 'swapped'),
    'Context for VOC': ('voc21', 'pc60', {}, ['labels in range', 'void'], 'Pascal Context,', 'swapped'),
    'Context for ADE20K': ('ade20k', 'pc60', {}, [], 'Pascal Context,', 'swapped'),
    'Context for COCO-Object': ('coco_object', 'pc60', {}, [], 'Pascal Context,', 'swapped'),
    'Stuff for Object': ('coco_object', 'coco_stuff', {}, ['labels in range'], 'COCO-Stuff in train ids,', 'convert'),
    'Object for Stuff': ('coco_stuff', 'coco_object', {}, ['void'], 'COCO-Object,', 'swapped'),
    'raw Stuff': ('coco_stuff', (range(182), 255), {}, ['labels in range'], "Stuff in its archive's ids,", 'convert'),
    'raw Cityscapes': ('cityscapes', (range(34), None), {}, ['labels in range', 'void'], 'label ids,', 'convert'),
    'Context for its 459': ('pc459', 'pc60', {}, ['one label a pixel'], 'Pascal Context,', 'swapped'),
    '459 for Context': ('pc60', 'pc459', {}, ['labels in range', 'void'], 'Context of 459', 'convert'),
    'unknown': ('coco_stuff', (range(100), 255), {}, [], 'no label above 99 in 12 masks', 'fewer classes'),
}


@pytest.mark.parametrize('case', OTHERS)
def test_masks_of_another_kind(make, case):
    key, masks, settings, checks, seen, mend = OTHERS[case]
    found = make(key, masks).problems(**settings)
    assert list(found) == [*checks, 'kind of masks']
    problem, remedy = found['kind of masks'].split(' | ')
    assert seen in problem and mend in remedy


def sort_palette(data: TinySet, name: str) -> None:
    """What programs that shrink PNGs do: colors stay, labels do not."""
    labels = data.labels(name)
    used = np.unique(labels.astype(int))[::-1]
    colors = np.array([*PascalVOCDataset.METAINFO['palette'], *[(224, 224, 192)] * 235], np.uint8)
    image = Image.fromarray(np.searchsorted(-used, -labels.astype(int)).astype(np.uint8))
    image.putpalette(colors[used].ravel().tolist())
    image.save(data.mask(name))


def test_sorted_palettes_are_told_by_check_and_run(make):
    voc = make('voc21')
    sort_palette(voc, voc.names[4])
    found = voc.problems()
    assert list(found) == ['order of the palette', 'void']
    assert (
        '1 of 12 masks have colors of the dataset at other labels than its own: voc_04' in found['order of the palette']
    )
    with pytest.raises(BenchError, match=r'1 of 12 masks have colors .*voc_04'):
        build_dataset(voc.config.test_dataloader.dataset)


def reorder(data: TinySet, frequent: tuple[str, ...], order: Sequence[int]) -> None:
    """Masks that show the ``frequent`` classes and one more each, their labels then in another order."""
    classes = PascalContextDataset59.METAINFO['classes']
    labels = [1 + classes.index(name) for name in frequent]
    for index, name in enumerate(data.names):
        mask = np.resize([*labels, 1 + index * 5 % 59, 0], SIZE).repeat(4, 0).repeat(4, 1)
        data.save(name, np.array([0, *order])[mask])
    data.save(data.names[0], np.resize(range(60), SIZE).repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize('key', ['pc59', 'pc60'])
def test_classes_in_another_order(make, key):
    context, classes = make(key), PascalContextDataset59.METAINFO['classes']
    frequent = FREQUENT['context', 59]
    reorder(context, frequent, range(1, 60))
    assert context.problems() == {}
    assert 'order of classes' in [finding.check for finding in verify(context.config).findings]
    # The objects of Pascal VOC first, as other repositories have them.
    voc = [name for name in classes if name in {*PascalVOCDataset.METAINFO['classes'], 'table'}]
    theirs = [*voc, *(name for name in classes if name not in voc)]
    reorder(context, frequent, [1 + theirs.index(name) for name in classes])
    assert_only(context.problems(), 'order of classes', 'other class order', "another repository's")


@pytest.mark.parametrize(('split', 'count'), FREQUENT)
def test_frequent_classes_are_classes(split, count):
    kind = {59: 'PascalContextDataset59', 150: 'ADE20KDataset', 80: 'COCOObjectDataset', 171: 'COCOStuffDataset'}[count]
    classes = DATASETS.get(kind).METAINFO['classes']
    assert set(FREQUENT[split, count]) <= set(classes) and len(classes) - (classes[0] == 'background') == count
    # The classes as often as each other: nothing is said against them.
    assert not order_findings(split, classes, np.full(len(classes), 9), 60)[0].problem
    assert order_findings(split, classes, np.ones(len(classes)), 60) == []


def test_a_run_looks_into_a_few_masks(make, lists, tmp_path):
    """Void and format before anything slow; what is damaged is told when its turn comes."""
    names = [f'voc_{index:02}' for index in range(24)]
    (tmp_path / 'splits' / 'voc.txt').write_text('\n'.join(names))
    official_list.cache_clear()
    voc = make('voc21')
    settings = voc.config.test_dataloader.dataset
    cut(voc.mask(names[0]))
    assert len(build_dataset(settings)) == 24
    for name in names:
        voc.save(name, np.zeros((40, 32), np.uint8))
    with pytest.raises(BenchError, match='void border lost'):
        build_dataset(settings)
    Image.fromarray(np.zeros((40, 32), np.uint8)).save(voc.mask(names[0]), 'JPEG')
    with pytest.raises(BenchError, match=r'masks are in a lossy format.*voc_00'):
        build_dataset(settings)


def test_masks_whose_images_have_another_suffix_are_told_before_a_run(tmp_path):
    config = own_data(tmp_path, ('background', 'cat', 'dog'))
    for index, suffix in ((3, '.JPG'), (7, '.jpeg')):
        (tmp_path / 'images' / f'{index}.jpg').rename(tmp_path / 'images' / f'{index}{suffix}')
    settings = load_config(str(config)).test_dataloader.dataset
    with pytest.raises(
        BenchError, match=r'without their image: 2 \(3\.png, 7\.png\); images end in \.jpg.*\.JPG, \.jpeg'
    ):
        build_dataset(settings)
    # With a list, masks that are not in it are nobody's loss.
    (tmp_path / 'list.txt').write_text('0\n1\n')
    settings.ann_file = 'list.txt'
    assert len(build_dataset(settings)) == 2


def test_few_masks_show_no_kind(make):
    context = make('pc60', 'voc21')
    context.names = context.names[:9]
    context.write_list()
    assert context.problems().keys() == {'official list'}


# ---- fingerprint


def test_fingerprint_is_of_names_and_labels_alone(make):
    voc = make('voc21')
    expected = hashlib.sha256()
    for name in sorted(voc.names):
        mask = voc.labels(name)
        content = np.array(mask.shape, '<u4').tobytes() + mask.astype('<u2').tobytes()
        expected.update(name.encode() + b'\0' + hashlib.sha256(content).digest())
    assert verify(voc.config).contents.fingerprint == expected.hexdigest()

    name = voc.names[3]
    colored = Image.open(voc.mask(name))
    colored.putpalette(list(range(256)) * 3)
    colored.save(voc.mask(name), compress_level=0)
    Image.fromarray(voc.labels(voc.names[4]).astype(np.uint16)).save(voc.mask(voc.names[4]))
    voc.names.reverse()
    voc.write_list()
    assert verify(voc.config).contents.fingerprint == expected.hexdigest()

    relabel(voc, voc.names[5], 3)
    changed = verify(voc.config).contents.fingerprint
    assert changed != expected.hexdigest()
    voc.mask(name).unlink()
    assert verify(voc.config).contents.fingerprint is None


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
    code = 'import sys, naclip_bench.data.check.examine; sys.exit("torch" in sys.modules or "mmseg" in sys.modules)'
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
        assert verify(data.config).contents.fingerprint in outcome.stdout, key
    pixels = sum((voc.labels(name) == 20).sum() for name in voc.names)
    assert any(line.split() == ['tvmonitor', str(pixels), '1'] for line in histogram(outcome.stdout))

    cut(voc.image(voc.names[2]))
    assert run_here(capfd, [*arguments, '--quick'], CHECK).code == 0
    outcome = run_here(capfd, arguments, CHECK)
    assert outcome.code == 1 and 'voc_02' in outcome.stdout
    assert verify(ade.config).contents.fingerprint in outcome.stdout, 'the second set is checked all the same'
    ade.mask(ade.names[2]).unlink()
    assert run_here(capfd, [*arguments, '--quick'], CHECK).code == 1


def histogram(printed: str) -> list[str]:
    """A class a line, whatever stands beside it."""
    return [line[first : first + 40] for line in printed.splitlines() for first in range(0, len(line))]


def test_command_without_the_data(tmp_path, capfd):
    outcome = run_here(capfd, ['voc21', '--data-root', tmp_path], CHECK)
    assert outcome.code == 1 and 'there is no' in outcome.stdout and 'prepare_data.py' in outcome.stdout
    outcome = run_here(capfd, ['voc12'], CHECK)
    assert outcome.code == 1 and outcome.stderr.startswith('error: there is no dataset or config voc12; did you mean')
    assert outcome.stderr.count('\n') == 1


def own_data(tmp_path: Path, classes: tuple[str, ...]) -> Path:
    """A config of a folder of a dozen images and one of masks."""
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for index in range(COUNT):
        Image.new('RGB', (8, 6)).save(tmp_path / 'images' / f'{index}.jpg')
        Image.fromarray(np.full((6, 8), index % 3, np.uint8)).save(tmp_path / 'masks' / f'{index}.png')
    config = tmp_path / 'mine.py'
    dataset = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=classes),
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
    )
    base = [str(CONFIGS / '_base_' / part) for part in ('methods/naclip.py', 'common.py')]
    config.write_text(f'_base_ = {base!r}\ndataset = "mine"\ntest_dataloader = dict(dataset={dataset!r})\n')
    return config


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
    monkeypatch.undo()
    official_list.cache_clear()
    for key in sorted(MASKS.keys() - {'cityscapes', 'pc459', 'ade847'}):
        found = problems(verify(load_config(dataset_config(key), str(real_data))))
        assert list(found) == ['official list'] and 'extra: none' in found['official list'], key
