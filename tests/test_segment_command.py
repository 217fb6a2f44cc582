"""``naclip-bench segment``: all images done but the broken ones, nothing done twice, scored where masks are at hand."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import COMMAND, Outcome, run_here

from naclip_bench.cli.segment import FORMATS
from naclip_bench.datasets.materials.dataset import CLASSES
from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.confusion import Scores, confusion_matrix
from naclip_bench.segment import batch
from naclip_bench.segment.listing import find_inputs
from naclip_bench.segment.masks import Masks, scored
from naclip_bench.segment.segmenter import Segmenter

SEGMENT = COMMAND.with_name('segment.py')
TINY = ('--words', 'materials24', '--weights', 'materials', '--device', 'cpu')


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def running(*arguments: object) -> Outcome:
        return run_here(capfd, [*map(str, arguments), *TINY], SEGMENT)

    return running


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images of Materials, one of them in a folder of its own, and their masks."""
    for index, name in enumerate(('a.png', 'b.png', 'more/c.png')):
        for kind in ('images', 'masks'):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            scene = drawn(f'{index:05d}')
            Image.fromarray(scene.image if kind == 'images' else scene.labels.astype(np.uint8)).save(path)
    return tmp_path / 'images'


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file())


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_folder_with_every_format(run, folder):
    pytest.importorskip('rasterio', reason='the extra geo is not installed')
    ended = run(folder, '--method', 'naclip,sclip', '--save', ','.join(FORMATS), '--out', 'out')
    assert (ended.code, ended.stdout.splitlines()[-1]) == (0, '3 segmented: out')
    found = files(Path('out'))
    for method in ('naclip', 'sclip'):
        for kind, (place, suffix) in batch.FILES.items():
            for name in ('a', 'b', 'more/c'):
                assert f'{method}/{place}/{name}{suffix}' in found, kind
        coco = json.loads(Path(f'out/{method}/coco.json').read_text())
        assert [image['id'] for image in coco['images']] == [1, 2, 3]
        ids = [annotation['id'] for annotation in coco['annotations']]
        assert ids == list(range(1, len(ids) + 1))
        assert {annotation['image_id'] for annotation in coco['annotations']} == {1, 2, 3}
    segmenter = Segmenter('sclip', 'materials24', weights='materials', device='cpu')
    assert (labels_of(Path('out/sclip/labels/more/c.png')) == segmenter(folder / 'more' / 'c.png').labels).all()
    page = Path('out/index.html').read_text()
    for name in ('naclip/overlay/more/c.jpg', 'sclip/overlay/a.jpg'):
        assert f'src="{name}"' in page and name in found
    rows = Path('out/shares.csv').read_text().splitlines()
    assert len(rows) == 1 + 2 * 3 * len(CLASSES)


def test_what_is_finished_is_left_and_what_changed_is_made_anew(run, folder):
    arguments = (folder, '--save', 'png', '--out', 'out')
    assert run(*arguments).stdout == '3 segmented: out\n'
    before = {name: (Path('out') / name).stat().st_mtime_ns for name in files(Path('out'))}
    assert run(*arguments).stdout == '0 segmented, 3 were there already: out\n'
    assert {name: (Path('out') / name).stat().st_mtime_ns for name in before} == before
    Path('out/labels/b.png').unlink()
    assert run(*arguments).stdout == '1 segmented, 2 were there already: out\n'
    Image.fromarray(drawn('00007').image).save(folder / 'a.png')
    assert run(*arguments).stdout == '1 segmented, 2 were there already: out\n'
    with Path('out/manifest.jsonl').open('a') as file:
        file.write('{"name": "b", "met')
    assert run(*arguments).stdout == '0 segmented, 3 were there already: out\n'
    assert run(*arguments, '--short-side', '64').stdout == '3 segmented: out\n'
    assert run(*arguments, '--short-side', '64', '--fresh').stdout == '3 segmented: out\n'


def test_broken_images_are_told_at_the_end_and_the_others_done(run, folder):
    (folder / 'broken.jpg').write_bytes(b'no image')
    Image.new('RGB', (5000, 1)).save(folder / 'thin.png')
    ended = run(folder, '--save', 'png', '--out', 'out')
    assert ended.code == 1 and ended.stdout == '3 segmented: out\n'
    said = ended.stderr.splitlines()[-3:]
    assert said[0].startswith('error: the image ') and 'broken.jpg cannot be decoded' in said[0]
    assert 'thin.png is 5000 pixels wide and 1 high' in said[1]
    assert said[2] == '2 could not be segmented, see above'
    assert 'note' not in ended.stderr
    assert files(Path('out')) == ['labels/a.png', 'labels/b.png', 'labels/more/c.png', 'manifest.jsonl']


def test_scores_are_those_of_the_masks(run, folder):
    """As ``--background`` has it, label 0 of Materials' masks is the ground."""
    masks = folder.with_name('masks')
    ended = run(folder, '--save', 'png', '--out', 'out', '--background', '--masks', masks)
    total = 0
    for name in ('a', 'b', 'more/c'):
        predicted, truth = labels_of(Path(f'out/labels/{name}.png')), labels_of(masks / f'{name}.png')
        total = total + confusion_matrix(*_tensors(predicted, truth), 25).numpy()
    assert f'mIoU {Scores.of(total).percent()["mIoU"]:.2f}' in ended.stdout
    assert 'naclip, 3 images' in ended.stdout and 'zebra' in ended.stdout
    again = run(folder, '--save', 'png', '--out', 'out', '--background', '--masks', masks)
    assert again.stdout == ended.stdout.replace('3 segmented', '0 segmented, 3 were there already')
    # ADE's way: the same masks, the ground not scored.
    assert run(folder, '--save', 'png', '--out', 'other', '--masks', masks, '--reduce-zero-label').code == 0
    (masks / 'b.png').unlink()
    lacking = run(folder, '--save', 'png', '--out', 'out', '--background', '--masks', masks)
    assert lacking.code == 1 and f'there is no mask {masks / "b"}.png' in lacking.stderr


def _tensors(*arrays: np.ndarray) -> list:
    import torch

    return [torch.from_numpy(array.astype(np.int64)) for array in arrays]


NAMES = ('dog', 'boat', 'water')
LABELS = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)
CLASS = np.array([[0, 1, 2], [2, 1, -1]])


def test_masks_of_every_kind_are_the_same_classes(tmp_path):
    colors = np.zeros((256, 3), np.uint8)
    colors[[0, 1, 2]] = [(255, 0, 0), (0, 9, 255), (7, 7, 7)]
    Image.fromarray(colors[LABELS]).save(tmp_path / 'colored.png')
    palette = Image.fromarray(LABELS)
    palette.putpalette(colors.ravel().tolist())
    palette.save(tmp_path / 'palette.png')
    Image.fromarray(LABELS).save(tmp_path / 'index.png')
    Image.fromarray((LABELS + 1).astype(np.uint8)).save(tmp_path / 'from_one.png')
    values = np.array([1000, 7, 33], np.uint16)
    Image.fromarray(np.where(LABELS == 255, 5, values[LABELS % 4 % 3]).astype(np.uint16)).save(tmp_path / 'values.png')
    (tmp_path / 'colors').write_text('# what is what\n255 0 0 dog\n0,9,255,boat\n7 7 7 water\n0 0 0 ignore\n')
    (tmp_path / 'labels').write_text('1000 dog\n7 boat\n\n33 water\n5 ignore\n')

    plain = Masks(tmp_path, NAMES)
    colored = Masks(tmp_path, NAMES, colors=tmp_path / 'colors')
    for masks, name in (
        (plain, 'index'),
        (plain, 'palette'),
        (colored, 'colored'),
        (colored, 'palette'),
        (Masks(tmp_path, NAMES, labels=tmp_path / 'labels'), 'values'),
        (Masks(tmp_path, NAMES, reduce_zero=True), 'from_one'),
    ):
        assert (masks.read(name, (2, 3)) == CLASS).all(), name


def test_what_does_not_fit_is_said(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / 'a.png')
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / 'colored.png')

    def table(text: str) -> Path:
        (tmp_path / 'table').write_text(text)
        return tmp_path / 'table'

    def said(how: dict, name: str = 'a', size: tuple[int, int] = (2, 3), names: tuple[str, ...] = NAMES) -> str:
        with pytest.raises(BenchError) as caught:
            Masks(**{'folder': tmp_path, 'names': names, **how}).read(name, size)
        return str(caught.value)

    assert 'there is no folder' in said(dict(folder=tmp_path / 'none'))
    assert said({}, 'b').endswith('b.png')
    assert 'is 3 x 2 pixels, but its image 4 x 2' in said({}, size=(2, 4))
    assert 'holds the label 2, but the 2 classes end at 1' in said({}, names=NAMES[:2])
    assert '3 channels' in said({}, 'colored')
    assert 'line 2: "7" is not like "7 boat"' in said(dict(labels=table('0 dog\n7\n')))
    assert 'line 1: "0 0 boat" is not like "255 0 0 boat"' in said(dict(colors=table('0 0 boat\n')))
    assert 'did you mean "boat"' in said(dict(labels=table('0 boot\n')))
    assert 'holds the label 1, which' in said(dict(labels=table('0 dog\n')))
    assert 'holds the color 0 0 0, which' in said(dict(colors=table('1 1 1 dog\n')), 'colored')
    assert 'exclude one another' in said(dict(labels=table('0 dog\n'), reduce_zero=True))


def test_scores_without_pixels_are_none():
    rows, metrics = scored(NAMES, [[[0, 0, 5], [1, 0, 5]]])
    assert [row['IoU'] for row in rows] == [50, 0, None] and metrics['mIoU'] == 25


def test_inputs_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('x/a.jpg', 'x/a.png', 'x/y/b.JPG', 'z/a.jpg', 'x/notes.txt', 'x/.hidden.png'):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b'')

    def names(*given: str, listed: tuple[str, ...] = ()) -> list[str]:
        return [one.name for one in find_inputs(given, listed)]

    assert names('x') == ['a.jpg', 'a.png', 'y/b']
    assert names('x/a.jpg', 'x/a.jpg') == ['a']
    assert names('x/a.jpg', 'z/a.jpg') == ['x/a.jpg', 'z/a.jpg']
    assert names('x/**/*.JPG') == ['y/b'] and names('*/a.jpg') == ['x/a', 'z/a']
    assert names('-', listed=('x/a.png\n', '\n', 'x/y/b.JPG\n')) == ['a', 'b']
    for given, said in (('none', 'no file or folder none'), ('*.gif', 'no image matches'), ('x/y/../../w', 'no file')):
        with pytest.raises(BenchError, match=said):
            names(given)
    Path('empty').mkdir()
    with pytest.raises(BenchError, match='no image in the folder empty'):
        names('empty')
    with pytest.raises(BenchError, match='no image to segment'):
        names('-')


def test_frames_of_a_video(run, tmp_path):
    cv2 = pytest.importorskip('cv2')
    path = tmp_path / 'film.avi'
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (120, 96))
    if not video.isOpened():
        pytest.skip('this OpenCV writes no video')
    for seed in range(5):
        video.write(np.ascontiguousarray(np.resize(drawn(f'{seed:05d}').image[:80, :80], (96, 120, 3))))
    video.release()
    ended = run(path, '--every', '2', '--save', 'png,csv', '--out', 'out')
    assert ended.stdout == '3 segmented: out\n'
    assert files(Path('out/labels')) == ['film/000000.png', 'film/000002.png', 'film/000004.png']
    assert labels_of(Path('out/labels/film/000002.png')).shape == (96, 120)
    assert run(path, '--every', '2', '--save', 'png,csv', '--out', 'out').stdout.startswith('0 segmented, 3 were')
    path.write_bytes(b'no video')
    assert 'film.avi cannot be decoded' in run(path, '--out', 'out').stderr


def test_paths_from_stdin(run, folder, monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.StringIO(f'{folder / "a.png"}\n{folder / "more/c.png"}\n'))
    assert run('-', '--save', 'png', '--out', 'out').stdout == '2 segmented: out\n'
    assert files(Path('out/labels')) == ['a.png', 'c.png']


def test_an_image_that_is_seen_much_smaller_is_told(run, folder):
    Image.fromarray(drawn('00000').image).resize((1300, 1200)).save(folder / 'large.png')
    ended = run(folder, '--save', 'png', '--out', 'out')
    assert 'large.png is 1300 x 1200 pixels, and 104 x 96 for the model' in ended.stderr.splitlines()[-1]
    assert 'note' not in run(folder / 'a.png', '--save', 'png', '--out', 'out').stderr


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('images', '--save', 'pgn'), 'error: --save: there is no pgn; did you mean "png"'),
        (('nothing',), 'error: there is no file or folder nothing'),
        (('images', '--short-side', 'x'), 'error: --short-side is x'),
        (('images', '--every', '0'), 'error: --every is 0'),
        (('images', '--colors', 'x'), 'give --masks too'),
        (('images', '--threshold', 'x=y'), '"y" is no number'),
        (('images', '--threshold', '0.2'), 'give background=True'),
        (('images', '--method', 'naclip,sclop'), 'sclop; did you mean "sclip"'),
        (('images', '--out', 'images/a.png/out'), 'error: --out: cannot make the folder'),
        (('images', '--masks', 'none'), 'error: masks: there is no folder none'),
    ],
)
def test_mistakes_end_in_one_line(run, folder, arguments, said):
    ended = run(*arguments)
    assert ended.code == 1 and ended.stdout == ''
    assert said in ended.stderr.splitlines()[-1]
    assert not list(Path().rglob('labels'))


def test_random_weights_are_said_on_the_page(capfd, folder, tmp_path, monkeypatch):
    pytest.importorskip('jinja2', reason='the extra segment is not installed')
    monkeypatch.chdir(tmp_path)
    arguments = ['images/a.png', '--save', 'html', '--out', 'out', '--words', 'dog; boat', '--device', 'cpu']
    ended = run_here(capfd, [*arguments, '--arch', 'materials', '--weights', 'none'], SEGMENT)
    assert ended.code == 0 and 'RANDOM WEIGHTS' in ended.stderr
    assert 'RANDOM WEIGHTS' in Path('out/index.html').read_text()


def test_formats_are_those_of_the_run():
    assert FORMATS == batch.FORMATS
