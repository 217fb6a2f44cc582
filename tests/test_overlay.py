"""Overlays: labels in their colors over the image, upright, and no number changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps
from tiny import COMMAND, TinyBench, run_here

from naclip_bench.bundled import CONFIGS
from naclip_bench.datasets.loading import LoadImage
from naclip_bench.evaluation.overlay import FONT_SIZE, MARGIN, OPACITY, SMALL, draw, palette

IGNORED = 255


def panels(canvas: Image.Image, height: int, width: int) -> Iterator[np.ndarray]:
    """Image, ground truth and prediction of an overlay."""
    top = MARGIN + FONT_SIZE + 6
    for left in (MARGIN + index * (width + MARGIN) for index in range(3)):
        yield np.asarray(canvas)[top : top + height, left : left + width]


def test_overlay_shows_labels_in_their_colors_and_leaves_void_pixels():
    random, (height, width) = np.random.default_rng(0), (SMALL, SMALL + 20)
    image = random.integers(0, 256, (height, width, 3), np.uint8)
    truth, prediction = np.zeros((height, width), np.int64), np.ones((height, width), np.int64)
    truth[:5], prediction[:, 60:] = IGNORED, 2
    colors = np.array([(250, 0, 10), (0, 240, 20), (30, 0, 230), (9, 99, 199)], np.uint8)
    labels = {'ground truth': truth, 'prediction': prediction}
    canvas = draw(image, labels, ('a', 'b', 'c', 'absent'), colors)

    assert canvas.width == 3 * width + 4 * MARGIN and canvas.height > height + 2 * FONT_SIZE
    shown, shown_truth, shown_prediction = panels(canvas, height, width)
    assert (shown == image).all()
    assert (shown_truth[:5] == image[:5]).all()
    mixed = (1 - OPACITY) * image + OPACITY * colors[prediction]
    assert np.abs(shown_prediction - mixed).max() <= 0.5
    assert np.abs(shown_truth - ((1 - OPACITY) * image + OPACITY * colors[0]))[5:].max() <= 0.5
    legend = {tuple(pixel) for row in np.asarray(canvas)[-3 * FONT_SIZE :] for pixel in row.tolist()}
    assert {tuple(color) in legend for color in colors[:3].tolist()} == {True}
    assert tuple(colors[3].tolist()) not in legend


def test_a_thin_image_is_not_magnified_to_a_giant():
    thin = np.zeros((2, 300), np.int64)
    canvas = draw(np.zeros((2, 300, 3), np.uint8), {'ground truth': thin}, ('a',), np.zeros((1, 3), np.uint8))
    assert canvas.width == 2 * 900 + 3 * MARGIN


@pytest.mark.parametrize('own', [[], [[1, 2, 3]] * 60], ids=['none', 'all alike'])
def test_palette_tells_all_classes_apart(own):
    colors = palette({'classes': [str(index) for index in range(60)], 'palette': own})
    assert len({tuple(color) for color in colors.tolist()}) == 60


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
    with Image.open(drawn / 'p1.png') as overlay:
        # Small images are magnified, three times here.
        assert overlay.width == 3 * 192 + 4 * MARGIN
        magnified = Image.fromarray(upright).resize((192, 288), Image.Resampling.BICUBIC)
        assert (next(panels(overlay, 288, 192)) == np.asarray(magnified)).all()


def test_methods_side_by_side(tmp_path, capfd):
    bench = TinyBench(tmp_path, classes=(0, 3, 15, 18), count=2)
    command = COMMAND.with_name('draw_methods.py')
    given = bench.arguments(
        '--method', 'sclip,naclip', '--out', str(tmp_path / 'drawn'), config='voc21', without=('--work-dir', '--store')
    )
    outcome = run_here(capfd, given, command)
    assert outcome.code == 0 and outcome.stderr.startswith('RANDOM WEIGHTS')
    assert outcome.stdout.split() == [str(tmp_path / 'drawn' / f'{name}.png') for name in bench.names]
    with Image.open(tmp_path / 'drawn' / 'p1.png') as canvas:
        assert canvas.width == 4 * 96 * 3 + 5 * MARGIN


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
