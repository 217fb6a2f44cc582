"""``tools/prepare_data.py`` from archives in the official layouts to complete datasets."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from packing import JPEG, PNG, Served, files_below, pack, serving, voc_layout, voc_members
from tiny import COMMAND, Outcome, run_here

from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.console import amount
from naclip_bench.data import download, prepare, recipes
from naclip_bench.data.lock import locked
from naclip_bench.errors import BenchError
from naclip_bench.files import link_or_copy

PREPARE = COMMAND.with_name('prepare_data.py')


SMALL = ['2009_000001', '2009_000002', '2009_000003']


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return tmp_path / 'data'


@pytest.fixture
def command(data_root: Path, capfd: pytest.CaptureFixture) -> Callable[..., Outcome]:
    return lambda *arguments: run_here(capfd, [*arguments, '--data-root', data_root], PREPARE)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VOC and ADE20K of three images."""
    configs = tmp_path / 'configs'
    shutil.copytree(prepare.CONFIGS / '_base_', configs / '_base_')
    for name in ('voc20', 'voc21', 'ade20k'):
        path = configs / '_base_' / 'datasets' / f'{name}.py'
        path.write_text(re.sub(r'images = \d+', 'images = 3', path.read_text()))
    monkeypatch.setattr(prepare, 'CONFIGS', configs)
    for key in ('voc', 'ade20k'):
        recipe = recipes.RECIPES[key]
        files = {glob: min(count, 3) for glob, count in recipe.sources[0].files.items()}
        source = replace(recipe.sources[0], files=files)
        monkeypatch.setitem(recipes.RECIPES, key, replace(recipe, sources=(source,)))


def serve_voc(monkeypatch: pytest.MonkeyPatch, url: str, content: bytes) -> None:
    recipe = recipes.RECIPES['voc']
    source = replace(recipe.sources[0], url=url, md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(recipes.RECIPES, 'voc', replace(recipe, sources=(source,)))


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob('*')}


def assert_failed(outcome: Outcome, *fragments: object) -> None:
    assert outcome.code == 1 and len(outcome.stderr.splitlines()) == 1, outcome.stderr
    for fragment in fragments:
        assert str(fragment) in outcome.stderr


# ---- whole datasets


def test_voc(tmp_path, data_root, command):
    names = [f'2007_{index:06d}' for index in range(100, 1549)]
    archive = pack(tmp_path / 'VOCtrainval_11-May-2012.tar', voc_members(names))
    outcome = command('voc', '--from', archive)
    assert outcome.code == 0, outcome.stderr
    assert files_below(data_root) == voc_layout(names)
    assert '2,899 files' in outcome.stdout
    folder = data_root / 'VOCdevkit' / 'VOC2012'
    for name in ('voc21', 'voc20'):
        line = f'{name}: complete in {folder}; next: naclip-bench test naclip_{name} --data-root {data_root}\n'
        assert line in outcome.stdout
    before = state(tmp_path)
    again = command('voc', '--from', archive)
    assert again.code == 0 and 'Pascal VOC 2012 is complete; nothing was changed' in again.stdout
    assert {path: seen for path, seen in state(tmp_path).items() if path != str(data_root)} == {
        path: seen for path, seen in before.items() if path != str(data_root)
    }


@pytest.mark.usefixtures('small')
def test_ade20k(tmp_path, data_root, command):
    wanted = {f'images/validation/ADE_val_0000000{index}.jpg': JPEG for index in (1, 2, 3)}
    wanted |= {f'annotations/validation/ADE_val_0000000{index}.png': PNG for index in (1, 2, 3)}
    others = {'images/training/ADE_train_00000001.jpg': JPEG, 'objectInfo150.txt': b'Idx'}
    members = {f'ADEChallengeData2016/{path}': content for path, content in (wanted | others).items()}
    outcome = command('ade20k', '--from', pack(tmp_path / 'ADEChallengeData2016.zip', members))
    assert outcome.code == 0, outcome.stderr
    assert files_below(data_root) == {f'ade/ADEChallengeData2016/{path}': data for path, data in wanted.items()}


# ---- from where


@pytest.mark.usefixtures('small')
@pytest.mark.parametrize('inner', ['', 'VOCdevkit', 'VOCdevkit/VOC2012', 'VOCdevkit/VOC2012/JPEGImages'])
def test_folder_around_the_official_one_or_in_it(tmp_path, data_root, command, inner):
    folder = pack(tmp_path / 'given', voc_members(SMALL))
    before = files_below(folder)
    outcome = command('voc', '--from', folder / inner)
    assert outcome.code == 0, outcome.stderr
    assert files_below(data_root) == voc_layout(SMALL)
    assert files_below(folder) == before


@pytest.mark.usefixtures('small')
def test_download(data_root, command, tmp_path, monkeypatch):
    content = pack(tmp_path / 'a.tar', voc_members(SMALL)).read_bytes()
    monkeypatch.setattr(download, 'PAUSES', (0.0,))
    with serving(Served(content, cuts=[len(content) // 2])) as served:
        serve_voc(monkeypatch, served.url, content)
        outcome = command('voc')
    assert outcome.code == 0, outcome.stderr
    assert 'going on at' in outcome.stdout and 'as published' in outcome.stdout
    assert 'VOCtrainval_11-May-2012.tar, which is no longer needed' in outcome.stdout
    assert files_below(data_root) == voc_layout(SMALL)


@pytest.mark.usefixtures('small')
def test_download_with_the_wrong_checksum(data_root, command, monkeypatch):
    with serving(Served(b'changed on the way')) as served:
        serve_voc(monkeypatch, served.url, b'the archive')
        outcome = command('voc')
    by_hand = f'run: naclip-bench data prepare voc --data-root {data_root} --from VOCtrainval_11-May-2012.tar'
    assert_failed(outcome, 'it was deleted', by_hand)
    assert not (data_root / 'VOCdevkit').exists()


@pytest.mark.usefixtures('small')
def test_archive_among_the_downloads_stays_its_owners(tmp_path, data_root, command, monkeypatch):
    path = pack(data_root / 'downloads' / 'VOCtrainval_11-May-2012.tar', voc_members(SMALL))
    serve_voc(monkeypatch, 'http://127.0.0.1:1/nobody', path.read_bytes())
    assert command('voc').code == 0 and path.exists()


@pytest.mark.usefixtures('small')
def test_host_that_is_not_known(command, data_root, monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    serve_voc(monkeypatch, 'http://archives.test/voc.tar', b'')
    by_hand = f'run: naclip-bench data prepare voc --data-root {data_root} --from VOCtrainval_11-May-2012.tar'
    assert_failed(command('voc'), 'the host name archives.test does not resolve', by_hand)


def test_library_of_a_conversion_is_missed_before_the_download(command, data_root, monkeypatch):
    monkeypatch.setitem(sys.modules, 'scipy', None)
    monkeypatch.setattr(prepare, 'download', lambda *_: pytest.fail('it downloads'))
    line = "error: conversion of Pascal Context, 459 needs scipy: pip install 'naclip_bench[data]'\n"
    assert command('pc459').stderr == line


# ---- dry runs


@pytest.fixture
def dry(data_root: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """A dry run, that nothing comes of."""
    monkeypatch.setattr(prepare, 'download', lambda *_: pytest.fail('it downloads'))

    def run(*arguments: object) -> Outcome:
        before = state(data_root.parent)
        outcome = command(*arguments, '--dry-run')
        assert state(data_root.parent) == before
        return outcome

    return run


def test_dry_run_of_a_download(data_root, dry):
    outcome = dry('voc')
    assert (outcome.code, outcome.stderr) == (0, '')
    title, download, write, disk = outcome.stdout.splitlines()
    assert title == 'Pascal VOC 2012: what would be done; nothing of it is'
    url = 'https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar'
    assert download == f'  download  VOCtrainval_11-May-2012.tar, about 2.0 GB, from {url}'
    files = '{JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/val.txt}'
    benchmarks = '1,449 images with masks, for voc21 and voc20'
    assert write == f'  write     {data_root}/VOCdevkit/VOC2012/{files}: {benchmarks}'
    free = rf'\S+ \w+ are free in {re.escape(str(data_root.parent))}'
    assert re.fullmatch(rf'  disk      about 2\.2 GB; when it is done, about 170 MB; {free}', disk)


def test_dry_run_goes_on_with_a_download(data_root, dry):
    part = data_root / 'downloads' / 'VOCtrainval_11-May-2012.tar.part'
    pack(part.parent, {part.name: bytes(2_000_000)})
    assert f'  going on at 2.0 MB in {part}\n' in re.sub(' +going', '  going', dry('voc').stdout)


@pytest.mark.usefixtures('small')
@pytest.mark.parametrize('where', ['voc.tar', 'folder', 'data/downloads/VOCtrainval_11-May-2012.tar'])
def test_dry_run_from_what_is_there(tmp_path, data_root, dry, command, where):
    """Of training images in the archive nothing is taken."""
    archive = pack(tmp_path / where, voc_members(SMALL))
    given = [] if 'downloads' in where else ['--from', archive]
    outcome = dry('voc', *given)
    size = sum(map(len, voc_layout(SMALL).values()))
    assert outcome.code == 0 and 'download' not in outcome.stdout.replace(str(archive), '')
    assert f'  read      7 files, {amount(size)}, of {archive}\n' in outcome.stdout
    assert f'about {amount(size)}; when it is done, about {amount(size)};' in outcome.stdout
    assert command('voc', '--from', archive).code == 0
    assert dry('voc').stdout == 'Pascal VOC 2012 is complete; nothing would be done\n'


def test_dry_run_of_a_conversion_and_an_unknown_size(data_root, dry):
    said = dry('pascal_context').stdout
    assert '  download  trainval_merged.json, of unknown size, from https://codalabuser' in said
    assert '  convert   5,104 masks, from 459 categories to 59\n' in said
    assert f'  write     {data_root}/VOCdevkit/VOC2010/{{' in said and 'for pc60 and pc59\n' in said
    assert '  disk      about 2.0 GB, and trainval_merged.json, whose size is not known; when it is done, ' in said


def test_dry_run_where_a_login_is_needed(dry):
    outcome = dry('cityscapes')
    assert '  get       leftImg8bit_trainvaltest.zip, about 11.6 GB, from https://www.cityscapes' in outcome.stdout
    assert '  disk      about 1.2 GB; when it is done, about 1.2 GB; ' in outcome.stdout
    assert_failed(outcome, 'then run: naclip-bench data prepare cityscapes')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['voc', '--from', 'absent.tar'], 'there is no absent.tar'),
        (['pc459'], "needs scipy: pip install 'naclip_bench[data]'"),
        (['voc'], 'the disk is too full: about 2.2 GB are needed in'),
    ],
)
def test_dry_run_ends_as_the_run_would(dry, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, 'scipy', None)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: namedtuple('usage', 'total used free')(10**9, 0, 10**9))
    assert_failed(dry(*arguments), message)


def test_where_a_login_is_needed(data_root, command):
    outcome = command('cityscapes')
    login = 'https://www.cityscapes-dataset.com/downloads (needs a login)'
    archives = 'leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip'
    run = f'naclip-bench data prepare cityscapes --data-root {data_root} --from {archives}'
    assert_failed(outcome, f'get leftImg8bit_trainvaltest.zip from {login}', f'then run: {run}')
    assert not list(data_root.iterdir())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['vco'], 'there is no dataset vco; did you mean "voc"'),
        (['voc', '--unlabeled-ignored'], 'unlabeled pixels ignored is a variant of coco_object, not of voc'),
        (['voc', '--from', 'absent.tar'], 'there is no absent.tar'),
        (['voc', '--frm', 'x'], 'unrecognized arguments: --frm'),
    ],
)
def test_mistakes_on_the_command_line(command, data_root, arguments, message):
    assert_failed(command(*arguments), message)
    assert not data_root.exists()


def test_archive_of_another_data_set(tmp_path, data_root, command):
    archive = pack(tmp_path / 'voc.tar', voc_members(SMALL))
    assert_failed(
        command('coco', '--from', archive),
        f'{archive} holds neither val2017/*.jpg of val2017.zip nor val2017/*[0-9].png of stuffthingmaps',
    )
    assert not list(data_root.iterdir())


@pytest.mark.usefixtures('small')
def test_another_year(tmp_path, data_root, command):
    """VOC 2010 has the same folders, and another list."""
    archive = pack(tmp_path / 'voc2010.tar', voc_members([*SMALL, '2009_000004']))
    assert_failed(command('voc', '--from', archive), f'{archive} names 4 images, not 3; is it VOCtrainval_11-May-2012')
    assert not (data_root / 'VOCdevkit').exists()


def test_data_root_that_cannot_be_written(tmp_path, command, data_root):
    data_root.write_text('a file')
    archive = pack(tmp_path / 'voc.tar', voc_members(SMALL))
    assert_failed(command('voc', '--from', archive), f'{data_root}: File exists')


# ---- interrupted, mended, at once


@pytest.mark.usefixtures('small')
def test_interrupted_layout_goes_on(tmp_path, data_root, command, monkeypatch):
    archive = pack(tmp_path / 'voc.tar', voc_members(SMALL))
    done = []

    def link_two(source: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        link_or_copy(source, target)
        done.append(target)

    with monkeypatch.context() as patch:
        patch.setattr(recipes, 'link_or_copy', link_two)
        outcome = command('voc', '--from', archive)
    assert (outcome.code, outcome.stderr) == (130, 'interrupted\n')
    times = {path: path.stat().st_ino for path in done}
    outcome = command('voc', '--from', archive)
    assert outcome.code == 0 and 'files,' not in outcome.stdout, 'unpacked again'
    assert files_below(data_root) == voc_layout(SMALL)
    assert {path: path.stat().st_ino for path in done} == times


@pytest.mark.usefixtures('small')
def test_lost_and_cut_files_are_mended(tmp_path, data_root, command):
    archive = pack(tmp_path / 'voc.tar', voc_members(SMALL))
    assert command('voc', '--from', archive).code == 0
    folder = data_root / 'VOCdevkit' / 'VOC2012'
    (folder / 'SegmentationClass' / f'{SMALL[0]}.png').unlink()
    (folder / 'JPEGImages' / f'{SMALL[1]}.jpg').write_bytes(JPEG[:50])
    outcome = command('voc', '--from', archive)
    assert outcome.code == 0 and 'replaced 1 file of another size' in outcome.stdout
    assert files_below(data_root) == voc_layout(SMALL)


@pytest.mark.usefixtures('small')
def test_half_a_data_set_without_a_list_is_not_complete(tmp_path, data_root, command):
    """All images of the folder count, so that only their number tells."""
    root = data_root / 'ade' / 'ADEChallengeData2016'
    pack(root, {'images/validation/a.jpg': JPEG, 'annotations/validation/a.png': PNG})
    archive = pack(tmp_path / 'few.zip', {'images/validation/b.jpg': JPEG, 'annotations/validation/b.png': PNG})
    assert_failed(command('ade20k', '--from', archive), 'few.zip holds 1 of the 3 files images/validation/*.jpg')


@pytest.mark.usefixtures('small')
def test_two_at_once(tmp_path, data_root, command):
    archive = pack(tmp_path / 'voc.tar', voc_members(SMALL))
    data_root.mkdir()
    with FileLock(data_root / '.preparing-voc.lock'):
        assert_failed(command('voc', '--from', archive), 'another process is preparing this dataset', '.lock')
        assert not (data_root / 'VOCdevkit').exists()
    assert command('voc', '--from', archive).code == 0


def test_the_lock_of_a_killed_process_is_gone(data_root):
    code = f"""if True:
        import os, signal
        from pathlib import Path
        from naclip_bench.data.lock import locked
        with locked(Path({str(data_root / 'lock')!r})):
            os.kill(os.getpid(), signal.SIGKILL)"""
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': root}, check=False)
    assert done.returncode == -9
    with locked(data_root / 'lock'):
        pass
    assert not list(data_root.iterdir())


# ---- a dataset of two archives and a conversion


@pytest.fixture
def pair(small: None, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """A dataset whose images and masks come apart, and are converted to VOC's layout."""
    layouts = []

    def convert(source: Path, root: Path) -> None:
        layouts.append(files_below(source))
        for name in SMALL:
            image, mask = source / 'images' / f'{name}.jpg', source / 'set' / 'maps' / f'{name}.map'
            link_or_copy(image, root / 'VOCdevkit/VOC2012/JPEGImages' / image.name)
            target = root / 'VOCdevkit/VOC2012/SegmentationClass' / f'{name}.png'
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(mask.read_bytes())
        path = root / 'VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(f'{name}\n' for name in SMALL))

    sources = (
        recipes.Source('images.zip', '', {'images/*.jpg': 3}, page='https://images.org', shared=('voc21',)),
        recipes.Source('maps.zip', 'set', {'maps/*.map': 3}, page='https://maps.org'),
    )
    recipe = recipes.Recipe('fake', 'Fake', ('voc20',), sources, convert, 'fake')
    monkeypatch.setitem(recipes.RECIPES, 'fake', recipe)
    return layouts


IMAGES = {f'images/{name}.jpg': JPEG for name in SMALL}
MAPS = {f'set/maps/{name}.map': PNG for name in SMALL}


@pytest.mark.parametrize('order', [1, -1])
def test_archives_in_any_order(tmp_path, data_root, command, pair, order):
    given = [
        pack(tmp_path / 'a.zip', {f'deep/er/{path}': data for path, data in IMAGES.items()}),
        pack(tmp_path / 'b.tar.gz', MAPS | {'set/maps/readme': b''}),
    ]
    outcome = command('fake', '--from', *given[::order])
    assert outcome.code == 0, outcome.stderr
    assert pair == [IMAGES | MAPS]
    assert not list(data_root.glob('.*'))


def test_only_the_images_that_are_named(tmp_path, command, pair, monkeypatch):
    recipe = recipes.RECIPES['fake']
    images = replace(recipe.sources[0], images=lambda: SMALL)
    monkeypatch.setitem(recipes.RECIPES, 'fake', replace(recipe, sources=(images, recipe.sources[1])))
    outcome = command('fake', '--from', pack(tmp_path / 'all.zip', IMAGES | MAPS | {'images/train.jpg': JPEG}))
    assert outcome.code == 0, outcome.stderr
    assert pair == [IMAGES | MAPS]


def test_one_archive_is_missing(tmp_path, data_root, command, pair):
    maps = pack(tmp_path / 'maps.zip', MAPS)
    run = f'naclip-bench data prepare fake --data-root {data_root} --from {maps} images.zip'
    assert_failed(command('fake', '--from', maps), f'get images.zip from https://images.org, then run: {run}')
    assert not pair and not list(data_root.iterdir())


def test_one_archive_given_twice(tmp_path, command, pair):
    first, second = (pack(tmp_path / name, IMAGES) for name in ('a.zip', 'b.tar'))
    assert_failed(command('fake', '--from', first, second), f'both {first} and {second} hold images/*.jpg; give one')


def test_both_in_one_folder_named_by_its_parts(tmp_path, command, pair):
    folder = pack(tmp_path / 'all', IMAGES | MAPS)
    outcome = command('fake', '--from', folder / 'images', '--from', folder / 'set' / 'maps', folder)
    assert outcome.code == 0, outcome.stderr
    assert pair == [IMAGES | MAPS]


def test_images_of_a_benchmark_that_is_there_already(tmp_path, data_root, command, pair, monkeypatch):
    recipe = recipes.RECIPES['fake']
    images = replace(recipe.sources[0], files={'JPEGImages/*.jpg': 3})
    monkeypatch.setitem(
        recipes.RECIPES, 'fake', replace(recipe, benchmarks=('cityscapes',), sources=(images, recipe.sources[1]))
    )
    maps = pack(tmp_path / 'maps.zip', MAPS)
    assert 'images.zip' in command('fake', '--from', maps).stderr
    assert command('voc', '--from', pack(tmp_path / 'voc.tar', voc_members(SMALL))).code == 0
    command('fake', '--from', maps)
    assert [layout.keys() for layout in pair] == [{f'JPEGImages/{name}.jpg' for name in SMALL} | MAPS.keys()]


def test_conversion_that_leaves_something_out(tmp_path, data_root, command, pair, monkeypatch):
    recipe = recipes.RECIPES['fake']

    def forgetful(source: Path, root: Path) -> None:
        recipe.lay_out(source, root)
        (root / 'VOCdevkit/VOC2012/SegmentationClass' / f'{SMALL[0]}.png').unlink()

    monkeypatch.setitem(recipes.RECIPES, 'fake', replace(recipe, lay_out=forgetful))
    given = pack(tmp_path / 'both.zip', IMAGES | MAPS)
    assert_failed(command('fake', '--from', given), '1 of 3 masks are missing', f'{SMALL[0]}.png')
    assert 'next:' not in command('fake', '--from', given).stdout


# ---- what runs say of it


@pytest.mark.usefixtures('small')
def test_a_run_that_lost_an_image_says_what_brings_it(data_root, command, tmp_path):
    assert command('voc', '--from', pack(tmp_path / 'voc.tar', voc_members(SMALL))).code == 0
    (data_root / 'VOCdevkit' / 'VOC2012' / 'JPEGImages' / f'{SMALL[1]}.jpg').unlink()
    dataset = load_config('naclip_voc20', str(data_root)).test_dataloader.dataset
    with pytest.raises(BenchError, match=r'1 of 3 images are missing.*; run: naclip-bench data prepare voc --data'):
        build_dataset(dataset)
    dataset.data_root = str((data_root / 'VOCdevkit' / 'VOC2012').rename(tmp_path / 'my_own'))
    with pytest.raises(BenchError, match=r'1 of 3 images are missing.*; see docs/data\.md$'):
        build_dataset(dataset)
