"""Overlays: labels in their colors over the image, upright, with a legend that says what is there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont, ImageOps
from tiny import COMMAND, TinyBench, run_here

from naclip_bench.bundled import CONFIGS
from naclip_bench.datasets.loading import LoadImage
from naclip_bench.evaluation.overlay import (
    OPACITY,
    RED,
    SMALL,
    TRUTH,
    columns_of,
    font_of,
    legend_of,
    overlay,
    shortened,
    side_by_side,
)
from naclip_bench.palette import DISTINCT

IGNORED = 255


def pixels_of(canvas: Image.Image) -> np.ndarray:
    return np.asarray(canvas).astype(int)


def place_of(canvas: np.ndarray, image: np.ndarray) -> tuple[int, int]:
    """Where an image (H, W, 3) lies on a canvas: (row, column) of its left upper corner."""
    height, width = image.shape[:2]
    starts = np.argwhere((canvas[: -height + 1 or None, : -width + 1 or None] == image[0, 0]).all(-1))
    (place,) = [
        (row, column)
        for row, column in starts.tolist()
        if (canvas[row : row + height, column : column + width] == image).all()
    ]
    return place


@pytest.fixture(scope='module')
def scene():
    """A noisy image, and labels: 0 at the left, 1 in the middle, 2 at the right, and a strip of no class above."""
    random = np.random.default_rng(0)
    image = random.integers(60, 200, (SMALL, 400, 3), np.uint8)
    labels = np.zeros((SMALL, 400), np.uint8)
    labels[:, 50:], labels[:, 355:] = 1, 2
    labels[:40] = IGNORED
    return image, labels


COLORS = np.array([(250, 0, 10), (0, 240, 20), (30, 0, 230), (9, 99, 199)], np.uint8)


def panel_of(canvas, image, columns=2):
    """The panel right of the image."""
    row, column = place_of(pixels_of(canvas), image)
    step = (canvas.width - 2 * column - image.shape[1]) // (columns - 1)
    return pixels_of(canvas)[row : row + image.shape[0], column + step : column + step + image.shape[1]]


def test_regions_are_tinted_within_contours_of_their_own_color(scene):
    image, labels = scene
    panel = panel_of(side_by_side(image, {'labels': labels}, ('', '', '', ''), COLORS), image)
    mixed = (1 - OPACITY) * image + OPACITY * COLORS[np.where(labels < 4, labels, 0)]
    inner = [np.s_[60:, 5:45], np.s_[60:, 60:340], np.s_[60:, 365:395]]
    for part in inner:
        assert np.abs(panel[part] - mixed[part]).max() <= 0.5
    # Pixels at a border have the pure color, each its own; the image's edge is no border.
    assert (panel[100, [49, 50, 354, 355]] == COLORS[[0, 1, 1, 2]]).all()
    assert (panel[40, 200] == COLORS[1]).all()
    assert np.abs(panel[100, 0] - mixed[100, 0]).max() <= 0.5
    # Of no class: gray under a hatch.
    assert np.ptp(panel[:35], axis=-1).max() == 0 and panel[:35].std() > 5


def test_background_is_left_as_it_is(scene):
    image, labels = scene
    panel = panel_of(side_by_side(image, {'labels': labels}, ('background', 'boat', 'c', 'd'), COLORS), image)
    assert (panel[40:, :50] == image[40:, :50]).all()


def test_a_swatch_is_colored_like_its_region(scene):
    image, labels = scene
    canvas = overlay(image, labels, ('dog', 'boat', 'sea', 'absent'), COLORS)
    pixels, size = pixels_of(canvas), 13
    legend = pixels[-30:]
    mean = image.mean((0, 1)).round()
    for color in COLORS[:3]:
        frame = np.argwhere((legend == color).all(-1))
        assert len(frame), color
        row, column = frame.min(0)
        middle = legend[row + size // 2, column + size // 2]
        assert np.abs(middle - ((1 - OPACITY) * mean + OPACITY * color)).max() <= 0.5
        assert tuple(frame.max(0) - frame.min(0)) == (size - 1, size - 1)
    assert not (legend == COLORS[3]).all(-1).any()


def test_a_legend_lists_what_is_there_by_area_and_says_where(scene):
    _, labels = scene
    other = np.full_like(labels, 3)
    other[:, :60] = 1
    entries = legend_of({'b': labels, 'c': other}, ('dog', 'boat', 'sea', 'sky', 'absent'), 'not scored')
    assert [entry.text for entry in entries] == ['sky (c)', 'boat', 'not scored (b)', 'dog (b)', 'sea (b)']
    areas = [entry.area for entry in entries]
    assert areas == sorted(areas, reverse=True) and sum(areas) == 2 * labels.size
    assert [entry.text for entry in legend_of({'': labels}, ('dog', 'boat', 'sea'), 'none')] == [
        'boat',
        'none',
        'dog',
        'sea',
    ]


@pytest.mark.parametrize('system', [True, False], ids=['DejaVu, where there', "Pillow's font"])
def test_names_stand_within_regions_where_there_is_room(scene, system, monkeypatch):
    """White letters in the middle region, which has room for its name, and none in the others, whatever the font."""
    if not system:
        monkeypatch.setattr('naclip_bench.evaluation.overlay.font_of', ImageFont.load_default)
    image, labels = scene
    named, plain = (
        panel_of(side_by_side(image, {'labels': labels}, names, COLORS), image)
        for names in (('a long name of a class', 'boat', 'another long name'), ('', '', ''))
    )
    letters = (named != plain).any(-1)
    assert letters[:, 50:355].sum() > 50 and not letters[:, :50].any() and not letters[:, 355:].any()
    assert (named[letters] >= 250).all(-1).any()


def test_random_weights_are_marked_within_every_panel_that_they_made(scene):
    image, labels = scene
    titles = (TRUTH, 'clip', 'naclip')
    plain = side_by_side(image, dict.fromkeys(titles, labels), ('a', 'b', 'c'), COLORS)
    marked = side_by_side(image, dict.fromkeys(titles, labels), ('a', 'b', 'c'), COLORS, random_weights=True)

    def red(canvas):
        return (pixels_of(canvas) == RED).all(-1)

    assert not red(plain).any()
    assert red(marked)[0].all()
    row, column = place_of(pixels_of(marked), image)
    height, width = image.shape[:2]
    step = marked.width - column - width - column
    panels = [
        red(marked)[y : y + height, x : x + width]
        for y in (row, row + marked.height)
        for x in (column, column + step)
        if y + height < marked.height
    ]
    below = red(marked)[row + height :]
    assert not any(panel.any() for panel in panels), 'neither the image nor the truth'
    assert below[:, : marked.width // 2].any() and below[:, marked.width // 2 :].any()
    assert red(overlay(image, labels, ('a', 'b', 'c'), random_weights=True))[0].all()


def test_panels_are_arranged_so_that_they_are_read_on_a_page():
    assert [columns_of(count, 4, 3) for count in (1, 2, 3, 4, 6, 13)] == [1, 2, 3, 2, 3, 5]
    assert columns_of(3, 2, 1) == 2 and columns_of(3, 3, 4) == 3
    canvas = side_by_side(np.zeros((1024, 2048, 3), np.uint8), {'a': np.zeros((1024, 2048), int)}, ('sea',), COLORS[:1])
    assert canvas.width > 2048


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 5000), (5000, 1), (2, 300)])
def test_images_of_any_shape(height, width):
    canvas = overlay(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), int), ['a word ' * 40])
    assert 400 < canvas.width < 5100 and canvas.height < 5200


def test_own_words_need_nothing_else(scene):
    """Colors are ours; a label beyond the words is of no class."""
    image, labels = scene
    pixels = pixels_of(overlay(image, labels.astype(np.int64), ['Wäsche', 'судно', 'sea'], outside='unsure'))
    for color in DISTINCT[:3]:
        assert (pixels == color).all(-1).any()


def test_texts_are_cut_to_their_room():
    font = font_of(14)
    assert shortened('naclip', font, 500) == 'naclip'
    cut = shortened('naclip' * 20, font, 100)
    assert cut.endswith('…') and font.getlength(cut) <= 100
    assert shortened('naclip', font, 1) == ''


def test_overlay_of_an_image_that_its_exif_data_rotate(tmp_path, capfd):
    """Image, labels and overlay stand upright together; drawing changes no number."""
    bench = TinyBench(tmp_path, classes=(0, 3, 15, 18), count=5)
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    with Image.open(bench.image('p1')) as image:
        image.save(bench.image('p1'), exif=exif)
    bench.save_mask('p1', np.ascontiguousarray(np.rot90(np.array(Image.open(bench.mask('p1'))), -1)))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(bench.image('p1'))))
    decoded = LoadImage().transform({'img_path': str(bench.image('p1'))})['img'][..., ::-1]
    assert upright.shape == decoded.shape == (96, 64, 3)
    assert np.abs(upright.astype(int) - decoded).mean() < 3

    drawn, plain = bench.folder / 'drawn', bench.folder / 'plain'
    assert bench.run(capfd, work_dir=plain).code == 0
    assert bench.run(capfd, '--show-dir', str(drawn)).code == 0
    assert bench.finished() == bench.finished(plain)
    assert sorted(path.stem for path in drawn.iterdir()) == bench.names
    with Image.open(drawn / 'p1.png') as picture:
        assert 'RANDOM' in picture.info['weights'] and (pixels_of(picture)[0] == RED).all()
        # Small images are magnified, five times here.
        magnified = Image.fromarray(upright).resize((320, 480), Image.Resampling.BICUBIC)
        assert place_of(pixels_of(picture), np.asarray(magnified))


def test_methods_side_by_side(tmp_path, capfd):
    """The command of that name is the figure "sheet"."""
    bench = TinyBench(tmp_path, classes=(0, 3, 15, 18), count=2)
    drawn = {}
    for tool, *words in (('draw_methods', 'voc21'), ('figure', 'sheet', '--dataset', 'voc21')):
        more, without = ('--method', 'sclip,naclip', '--out', str(tmp_path / tool)), ('--work-dir', '--store')
        given = [*words, *bench.arguments(*more, without=without)[1:]]
        outcome = run_here(capfd, given, COMMAND.with_name(f'{tool}.py'))
        files = [tmp_path / f'{tool}.{suffix}' for suffix in ('png', 'svg')]
        assert (outcome.code, outcome.stdout.split(), outcome.stderr) == (0, [*map(str, files)], '')
        drawn[tool] = files[1].read_bytes()
    assert drawn['draw_methods'] == drawn['figure'] and b'RANDOM WEIGHTS' in drawn['figure']


def test_class_names_are_text_and_no_markup(tmp_path, capfd):
    """Brackets in a name are printed as they are, and end no run."""
    bench = TinyBench(tmp_path, classes=(0, 3))
    names = ['car [/front]', '[bold]rear[/bold]', *(f'thing {index}' for index in range(19))]
    base = [str(CONFIGS / '_base_' / part) for part in ('methods/naclip.py', 'common.py')]
    (tmp_path / 'names.txt').write_text(''.join(f'{name}\n' for name in names))
    config = tmp_path / 'own.py'
    config.write_text(
        f'_base_ = {base}\n'
        f"dataset = 'own [/x]'\n"
        f'model = dict(class_names={str(tmp_path / "names.txt")!r})\n'
        "test_dataloader = dict(dataset=dict(type='FolderDataset', data_root='data/VOCdevkit/VOC2012',\n"
        "    ann_file='ImageSets/Segmentation/val.txt', img_suffix='.jpg', seg_map_suffix='.png',\n"
        f'    class_names={str(tmp_path / "names.txt")!r},\n'
        "    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass')))\n"
    )
    outcome = bench.run(capfd, '--show-dir', str(tmp_path / 'drawn'), config=str(config))
    assert outcome.code == 0, outcome.stderr
    assert 'car [/front]' in outcome.stdout and '[bold]rear[/bold]' in outcome.stdout
    assert 'own [/x]' in outcome.stdout
