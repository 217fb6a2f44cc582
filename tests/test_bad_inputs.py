"""What is wrong with the input ends in one clear line, and what was finished before stays finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY_CLIP, Outcome, TinyBench, assert_kept, run_here, run_process


def assert_one_line(outcome: Outcome, *fragments: object) -> None:
    # Beside it only what was finished before.
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith('note: ')]
    assert len(lines) == 1 and lines[0].startswith('error: '), outcome.stderr
    assert outcome.code == 1
    for fragment in fragments:
        assert str(fragment) in lines[0]


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path)


@pytest.fixture
def earlier(bench: TinyBench) -> Callable[[], None]:
    """Leave an earlier run's files in the work folder; what is returned sees that they are untouched."""
    files = {
        bench.work_dir / 'store' / f'{"0" * 64}.npz': b'earlier',
        bench.work_dir / 'result.json': b'{"schema": 1}\n',
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def untouched() -> None:
        assert {path: path.read_bytes() for path in files} == files
        assert len(list((bench.work_dir / 'store').iterdir())) == 1
        assert not list(bench.folder.rglob('*.tmp'))

    return untouched


def weights_of(arch: Mapping, path: Path, broken: str | None = None) -> Path:
    """Made-up weights as safetensors, with values in the parameter ``broken`` that overflow in use."""
    from safetensors.torch import save_file

    from naclip_bench.backbones.weights import load_clip

    state = load_clip(arch, None).model.state_dict()
    if broken:
        state[broken].fill_(3e38)
    save_file(state, path)
    return path


def test_the_tiny_run_itself_has_nothing_wrong(bench, capfd):
    outcome = bench.run(capfd)
    assert outcome.code == 0 and 'error' not in outcome.stderr
    assert list(bench.finished()) == bench.names
    assert bench.result()['images']['count'] == len(bench.names)


# ---- the data


@pytest.mark.parametrize(
    ('lose', 'fragments'),
    [
        pytest.param(lambda bench: bench.voc.rename(bench.voc.with_name('elsewhere')), ('JPEGImages',), id='folder'),
        pytest.param(lambda bench: bench.list.unlink(), ('val.txt',), id='list'),
        pytest.param(lambda bench: bench.list.write_text(''), ('holds no images',), id='no images in the list'),
        pytest.param(lambda bench: bench.image('p2').unlink(), ('1 of 4 images are missing', 'p2.jpg'), id='image'),
        pytest.param(lambda bench: bench.mask('p3').unlink(), ('1 of 4 masks are missing', 'p3.png'), id='mask'),
    ],
)
def test_missing_data_say_the_expected_layout(bench, earlier, capfd, lose, fragments):
    lose(bench)
    layout = '{JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/val.txt}'
    assert_one_line(bench.run(capfd), f'expected: {bench.voc}/{layout}', *fragments)
    earlier()


def test_folder_of_images_without_any(bench, earlier, capfd):
    """A dataset that has no list of its images."""
    root = bench.folder / 'data' / 'ade' / 'ADEChallengeData2016'
    for part in ('images', 'annotations'):
        (root / part / 'validation').mkdir(parents=True)
    assert_one_line(bench.run(capfd, config='naclip_ade20k'), f'{root} holds no images', 'images/validation/*.jpg')
    earlier()


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def relabel(bench: TinyBench, name: str, label: int) -> None:
    labels = np.array(Image.open(bench.mask(name)))
    labels[5, 7] = label
    bench.save_mask(name, labels)


def save_rgb_mask(bench: TinyBench, name: str) -> None:
    Image.open(bench.mask(name)).convert('RGB').save(bench.mask(name))


def halve_mask(bench: TinyBench, name: str) -> None:
    bench.save_mask(name, np.array(Image.open(bench.mask(name)))[::2])


@pytest.mark.parametrize(
    ('damage', 'fragments'),
    [
        pytest.param(lambda b: b.image('p2').write_text('a page'), ('image', 'p2.jpg', 'decoded'), id='no image'),
        pytest.param(lambda b: b.image('p2').write_bytes(b''), ('image', 'p2.jpg', 'decoded'), id='empty image'),
        pytest.param(lambda b: cut(b.image('p3')), ('image', 'p3.jpg', 'truncated'), id='half an image'),
        pytest.param(lambda b: cut(b.mask('p2')), ('mask', 'p2.png', 'truncated'), id='half a mask'),
        pytest.param(lambda b: relabel(b, 'p2', 21), ('p2.png holds label 21', '0..20'), id='label outside'),
        pytest.param(lambda b: save_rgb_mask(b, 'p3'), ('p3.png', '3 channels'), id='RGB mask'),
        pytest.param(lambda b: halve_mask(b, 'p2'), ('p2.png is 32x96', '64x96'), id='mask of another size'),
    ],
)
def test_damaged_file_keeps_the_batches_before_it(bench, capfd, damage, fragments):
    damage(bench)
    assert_one_line(bench.run(capfd), *fragments)
    assert_kept(bench, ['p0', 'p1'])


def test_label_outside_is_told_as_it_stands_in_the_file(bench, capfd):
    """VOC20 takes one off every label; the user sees the file's own."""
    relabel(bench, 'p2', 21)
    outcome = bench.run(capfd, config='naclip_voc20')
    assert_one_line(outcome, 'p2.png holds label 21', 'labels 1..20', 'ignores 0 and 255')


def test_resumed_after_repair_equals_an_uninterrupted_run(bench, capfd):
    whole = bench.folder / 'uninterrupted'
    assert bench.run(capfd, work_dir=whole).code == 0
    content = bench.image('p2').read_bytes()
    cut(bench.image('p2'))
    assert_one_line(bench.run(capfd), 'p2.jpg', 'truncated')
    assert_kept(bench, ['p0', 'p1'])
    # Still damaged: the same line again, and nothing is lost by trying.
    assert_one_line(bench.run(capfd), 'p2.jpg', 'truncated')
    assert_kept(bench, ['p0', 'p1'])
    bench.image('p2').write_bytes(content)
    assert bench.run(capfd).code == 0
    assert bench.finished() == bench.finished(whole)
    assert bench.result()['per_class'] == bench.result(whole)['per_class']
    assert bench.result()['times']['images'] == 2


def test_error_in_a_loading_process_is_one_line_too(bench):
    """torch raises a worker's error with its traceback as the message; in a real process, as a user runs it."""
    cut(bench.image('p3'))
    outcome = run_process(bench.arguments(options={'test_dataloader.num_workers': 1}))
    assert_one_line(outcome, f'error: the image {bench.image("p3")} is truncated')
    assert_kept(bench, ['p0', 'p1'])


# ---- settings


@pytest.mark.parametrize(
    ('arguments', 'options', 'fragments'),
    [
        pytest.param((), {'model.type': 'NACLLIP'}, ("'NACLLIP'", 'did you mean "NACLIP"'), id='method'),
        pytest.param((), {'model.type': 'EncoderDecoder'}, ('EncoderDecoder', 'known: '), id='no method of ours'),
        pytest.param(
            (), {'test_dataloader.dataset.type': 'VOC20Dataset'}, ('did you mean "PascalVOC20Dataset"',), id='dataset'
        ),
        pytest.param((), {'model.strid': 8}, ('model.strid', 'did you mean "stride"'), id='setting'),
        pytest.param((), {'model.backbone.arhc': 1}, ('model.backbone.arhc', '"arch"'), id='setting of the backbone'),
        pytest.param((), {'model.refine.query_chunks': 8}, ('"query_chunk"',), id='setting of the refinement'),
        pytest.param((), {'modle.stride': 8}, ('modle.stride', 'did you mean "model"'), id='group of settings'),
        pytest.param((), {'model.window': '(32,(32)'}, ('"model.window=(32,(32)"', 'bracket'), id='open bracket'),
        pytest.param(('--precision', 'fp31'), {}, ('--precision', "'fp31'", 'fp16'), id='precision'),
        pytest.param((), {'model.backbone.precision': 'fp31'}, ("'fp31'", 'did you mean "fp32"'), id='precision, set'),
        pytest.param((), {'model.window': 8}, ('model.window is 8', 'patch of 16'), id='window under a patch'),
        pytest.param((), {'model.stride': 33}, ('model.stride is 33', 'the window, 32'), id='stride over the window'),
        pytest.param((), {'test_dataloader.batch_size': 0}, ('batch_size is 0', 'at least 1'), id='batch of none'),
        pytest.param((), {'model.class_names': 'pc59'}, ('pc59.txt has 59 classes', '21'), id='number of classes'),
        pytest.param((), {'model.class_names': 'voc22'}, ('voc22', 'did you mean "voc21"'), id='class-name file'),
        pytest.param(('--limit', '0'), {}, ('the limit is 0',), id='limit of none'),
        pytest.param(('--limit', 'few'), {}, ("'few'", '--limit'), id='limit that is no number'),
        pytest.param(('--subset', 'nowhere.txt'), {}, ('subset: there is no file nowhere.txt',), id='no subset file'),
    ],
)
def test_setting_that_cannot_be(bench, earlier, capfd, arguments, options, fragments):
    assert_one_line(bench.run(capfd, *arguments, options=options), *fragments)
    earlier()


def test_lonely_word_among_the_settings(bench, earlier, capfd):
    arguments = [*bench.arguments(), 'model.stride']
    assert_one_line(run_here(capfd, arguments), '--cfg-options', '"model.stride" is not KEY=VALUE')
    earlier()


def test_unknown_config(bench, earlier, capfd):
    assert_one_line(bench.run(capfd, config='naclip_voc12'), 'no config naclip_voc12', 'did you mean "naclip_voc21"')
    earlier()


def test_class_names_of_ones_own_with_a_class_missing(bench, earlier, capfd):
    names = bench.folder / 'mine.txt'
    names.write_text('\n'.join(f'thing {index}' for index in range(20)))
    outcome = bench.run(capfd, options={'model.class_names': names})
    assert_one_line(outcome, f'{names} has 20 classes, but PascalVOCDataset has 21')
    earlier()


@pytest.mark.parametrize(
    ('content', 'fragments'),
    [
        pytest.param(b'p1\np9\n', ('p9 is not in the dataset', 'did you mean'), id='unknown image'),
        pytest.param(b'.\n', ('. is not in the dataset',), id='no name at all'),
        pytest.param(b'\n', ('it is empty',), id='empty'),
        pytest.param(b'\xff\xd8\xff', ('is no text',), id='no text'),
    ],
)
def test_subset_that_cannot_be(bench, earlier, capfd, content, fragments):
    subset = bench.folder / 'subset.txt'
    subset.write_bytes(content)
    assert_one_line(bench.run(capfd, '--subset', str(subset)), f'subset {subset}', *fragments)
    earlier()


@pytest.mark.parametrize('option', ['--work-dir', '--show-dir'])
def test_folder_that_is_a_file(bench, capfd, option):
    place = bench.folder / 'taken'
    place.write_text('a file')
    assert_one_line(bench.run(capfd, option, str(place)), option, place)
    assert place.read_text() == 'a file'


# ---- the weights


def test_weights_not_to_be_had_offline(bench, earlier):
    """Names the three ways to give them; in a real process, since the hub reads its settings when imported."""
    home = bench.folder / 'home'
    home.mkdir()
    arguments = bench.arguments(pretrained='openai', options={'model.backbone.arch': 'ViT-B-16-quickgelu'})
    outcome = run_process(arguments, HF_HUB_OFFLINE=1, HF_HOME=home, HF_HUB_CACHE=home / 'hub', HOME=home)
    assert_one_line(outcome, '"openai"', 'ViT-B-16-quickgelu', '(1)', '(2) set HF_HOME', '(3)', 'a local file')
    earlier()


def test_weights_of_another_architecture(bench, earlier, capfd):
    wide = {**TINY_CLIP, 'vision_cfg': {**TINY_CLIP['vision_cfg'], 'width': 96, 'layers': 3}}
    path = weights_of(wide, bench.folder / 'wide.safetensors')
    outcome = bench.run(capfd, pretrained=path)
    assert_one_line(outcome, 'wide.safetensors', 'another architecture', '3 blocks x 96', 'model.backbone.arch')
    earlier()


def test_weights_file_that_is_not_there(bench, earlier, capfd):
    path = bench.folder / 'absent.pt'
    assert_one_line(bench.run(capfd, pretrained=path), f'there is no file {path}', 'a local file')
    earlier()


@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
@pytest.mark.parametrize('state', ['empty', 'other', 'cut'])
def test_weights_file_that_cannot_be_read(bench, earlier, capfd, name, state):
    path = bench.folder / name
    if state == 'cut':
        torch.save({'a': torch.ones(9999)}, path) if path.suffix == '.pt' else weights_of(TINY_CLIP, path)
        cut(path)
    else:
        path.write_bytes(b'a page of text ' * 99 if state == 'other' else b'')
    assert_one_line(bench.run(capfd, pretrained=path), path, 'no weights that can be read')
    earlier()


@pytest.mark.parametrize('broken', ['visual.conv1.weight', 'ln_final.bias'])
def test_logits_that_are_not_finite(bench, capfd, broken):
    """They are never scored: a NaN has no class."""
    path = weights_of(TINY_CLIP, bench.folder / 'huge.safetensors', broken)
    outcome = bench.run(capfd, pretrained=path)
    assert_one_line(outcome, 'p0.jpg', 'not finite', '"huge.safetensors"')
    assert_kept(bench, [])


# ---- memory


def test_out_of_memory_in_refinement_is_never_skipped(bench, capfd, monkeypatch):
    store, embedding_bag = bench.work_dir / 'store', torch.nn.functional.embedding_bag

    def full_from_the_second_batch(*args: object, **kwargs: object) -> torch.Tensor:
        if list(store.rglob('*.npys')):
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return embedding_bag(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, 'embedding_bag', full_from_the_second_batch)
    outcome = bench.run(capfd, config='official/naclip_voc21')
    assert_one_line(outcome, 'PAMR ran out of memory', '64x96', 'model.refine.query_chunk')
    assert_kept(bench, ['p0', 'p1'])


# ---- going on


@pytest.mark.parametrize(
    'options',
    [{'model.stride': 8}, {'model.templates': 'photo'}, {'test_dataloader.dataset.pipeline.1.scale': '(2048,64)'}],
    ids=['stride', 'prompts', 'size of the images'],
)
def test_other_settings_are_another_run(bench, capfd, options):
    assert bench.run(capfd).code == 0
    first = bench.result()
    assert bench.run(capfd, options=options).code == 0
    second = bench.result()
    assert second['times']['images'] == 4 and second['hashes']['run'] != first['hashes']['run']
    assert len(list(bench.store().folder.glob('*.npz'))) == 2


def test_going_on_with_what_only_changes_the_speed(bench, capfd, monkeypatch):
    assert bench.run(capfd).code == 0
    monkeypatch.setattr('naclip_bench.evaluation.run._compute', lambda *_: pytest.fail('computed again'))
    assert bench.run(capfd, options={'model.window_batch': 3, 'test_dataloader.batch_size': 1}).code == 0


def test_a_damaged_entry_is_refused(bench, capfd):
    assert bench.run(capfd).code == 0
    (path,) = bench.store().folder.glob('*.npz')
    content = path.read_bytes()[:-9]
    path.write_bytes(content)
    assert_one_line(bench.run(capfd), f'{path} is damaged; delete the file to compute it again')
    assert path.read_bytes() == content
