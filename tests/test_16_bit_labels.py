"""Labels above 255 from the class names through the test loop to the result, the overlay and the saved predictions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_bad_inputs import assert_one_line
from tiny import Outcome, TinyBench, run_here

from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.datasets.loading import LoadMask
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.confusion import confusion_matrix, from_cells, to_cells
from naclip_bench.evaluation.predictions import PredictionFiles
from naclip_bench.palette import dataset_palette
from naclip_bench.vocabulary import Vocabulary, class_name_file

#: Key of each dataset with its number of classes.
LARGE = {'pc459': 459, 'ade847': 847}

#: What the authors of CLIPtrase publish; ProxyCLIP and CorrCLIP have the same lists but for one apostrophe.
PUBLISHED = Path(__file__).resolve().parents[2] / 'shared' / 'classnames' / 'CLIPtrase' / 'dataset_cfg_labels.json'


class LargeBench(TinyBench):
    """A PC459 or an ADE-847 of two small images with 16-bit masks, over which ``tools/test.py`` is run.

    Args:
        folder: where everything lies.
        key: of the dataset.
    """

    def __init__(self, folder: Path, key: str) -> None:
        super().__init__(folder, count=2)
        self.key, self.last = key, LARGE[key] - 1
        config = load_config(f'naclip_{key}', data_root=str(folder / 'data')).test_dataloader.dataset
        self.images, self.masks = (
            Path(config.data_root) / config.data_prefix[part] for part in ('img_path', 'seg_map_path')
        )
        self.images.mkdir(parents=True)
        self.masks.mkdir(parents=True)
        if config.get('ann_file'):
            path = Path(config.data_root) / config.ann_file
            path.parent.mkdir(parents=True)
            path.write_text(self.list.read_text())
        for name in self.names:
            self.image(name).rename(self.images / f'{name}.jpg')
            self.save_labels(name, np.zeros((64, 96), np.uint16))
        self.class_names = folder / 'names.txt'
        self.words = [synonyms[0] for synonyms in Vocabulary(key).classes]
        self.save_words()

    def save_words(self) -> None:
        # One word a class, so that few prompts are encoded and no class ties with an earlier one.
        self.class_names.write_text(''.join(f'{word} {index}\n' for index, word in enumerate(self.words)))

    def save_labels(self, name: str, labels: np.ndarray) -> None:
        Image.fromarray(labels).save(self.masks / f'{name}.png')

    def run_saving(self, capfd: pytest.CaptureFixture, folder: str, *more: str) -> tuple[Outcome, list[np.ndarray]]:
        saved = self.folder / folder
        options = {'model.templates': 'photo', 'model.class_names': self.class_names}
        outcome = self.run(capfd, '--save-predictions', str(saved), *more, config=f'naclip_{self.key}', options=options)
        paths = sorted(saved.glob('*.png'))
        # Byte 24 of a PNG says how many bits a label has; some releases of Pillow read 16 as 32.
        assert {path.read_bytes()[24] for path in paths} <= {16}
        return outcome, [np.array(Image.open(path), np.uint16) for path in paths]


@pytest.mark.parametrize('key', LARGE)
def test_last_label_is_predicted_scored_and_saved(tmp_path, capfd, key):
    bench = LargeBench(tmp_path, key)
    outcome, before = bench.run_saving(capfd, 'before')
    assert outcome.code == 0, outcome.stderr
    # The class that is predicted most changes places with the last one: the numbers in its name go along.
    common = int(np.bincount(np.stack(before)[:, 16:].ravel()).argmax())
    lines = bench.class_names.read_text().splitlines()
    lines[common], lines[-1] = lines[-1], lines[common]
    bench.class_names.write_text('\n'.join(lines))
    swap = np.arange(bench.last + 1)
    swap[[common, bench.last]] = bench.last, common
    truths = []
    for name, labels in zip(bench.names, before, strict=True):
        truth = swap[labels].astype(np.uint16)
        # 255 is a class like any other; only 65535 is not scored.
        truth[:8], truth[8:16] = 65535, 255
        bench.save_labels(name, truth)
        truths.append(truth)

    outcome, after = bench.run_saving(capfd, 'after', '--show-dir', str(tmp_path / 'drawn'))
    assert outcome.code == 0, outcome.stderr
    for labels, old in zip(after, before, strict=True):
        assert labels.shape == (64, 96)
        assert (labels == swap[old]).all()
    expected = np.zeros((bench.last + 1, bench.last + 1), np.int64)
    for labels, truth in zip(after, truths, strict=True):
        np.add.at(expected, (truth[8:].astype(int), labels[8:].astype(int)), 1)
    assert expected[bench.last, bench.last] > 0 and expected[255].sum() == 2 * 8 * 96
    counted = from_cells([np.array(cells) for cells in bench.finished().values()], bench.last + 1)
    assert (counted == expected).all()
    rows = bench.result()['per_class']
    assert rows[bench.last]['pixels'] == expected[bench.last].sum() and rows[bench.last]['IoU'] > 0
    assert rows[255]['pixels'] == 2 * 8 * 96 and bench.result()['pixels'] == 2 * 56 * 96
    with Image.open(tmp_path / 'drawn' / 'p0.png') as overlay:
        assert overlay.height > 64


@pytest.mark.parametrize('key', LARGE)
def test_the_central_square_of_cliptrases_authors(tmp_path, capfd, key):
    """What is not scored stays so at another size, and 255 and the last label stay what they are."""
    bench = LargeBench(tmp_path, key)
    truth = np.full((64, 96), bench.last, np.uint16)
    truth[:32], truth[32:48] = 65535, 255
    for name in bench.names:
        bench.save_labels(name, truth)
    options = {
        'model.templates': 'photo',
        'model.class_names': bench.class_names,
        'model.cluster_layer': 2,
        'test_dataloader.dataset.pipeline.2.size': 48,
    }
    arguments = bench.arguments(config=f'official/cliptrase_{key}_224', options=options)
    others = ('model.window=', 'test_dataloader.dataset.pipeline.1.scale=')
    outcome = run_here(capfd, [argument for argument in arguments if not argument.startswith(others)])
    assert outcome.code == 0, outcome.stderr
    rows = bench.result()['per_class']
    assert {index: row['pixels'] for index, row in enumerate(rows) if row['pixels']} == {
        255: 2 * 12 * 48,
        bench.last: 2 * 12 * 48,
    }


@pytest.mark.parametrize(
    ('make', 'fragments'),
    [
        pytest.param(
            lambda last: np.full((64, 96), last + 1, np.uint16), ('holds label', 'ignores 65535'), id='beyond'
        ),
        pytest.param(lambda last: np.full((64, 96), last % 256, np.uint8), ('8 bits a pixel', '16 bits'), id='bytes'),
    ],
)
@pytest.mark.parametrize('key', LARGE)
def test_mask_that_is_none_of_the_data_set(tmp_path, key, make, fragments):
    path = tmp_path / 'mask.png'
    Image.fromarray(make(LARGE[key] - 1)).save(path)
    with pytest.raises(BenchError) as raised:
        LoadMask(LARGE[key], 65535).labels(str(path), False)
    assert all(fragment in str(raised.value) for fragment in ('mask.png', *fragments))


def test_masks_of_bytes_stay_right_for_256_classes(tmp_path):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(labels).save(tmp_path / 'mask.png')
    assert (LoadMask(256, 65535).labels(str(tmp_path / 'mask.png'), False) == labels).all()
    with pytest.raises(BenchError, match='8 bits a pixel'):
        LoadMask(256, 65535).labels(str(tmp_path / 'mask.png'), True)


def test_confusion_of_847_classes_is_kept_as_cells():
    labels = torch.arange(847).repeat(40).view(40, 847)
    truth, prediction = labels.flip(1), labels.clone()
    truth[0], truth[1, :7] = 65535, 255
    cells = to_cells(confusion_matrix(prediction, truth, 847, 65535).numpy())
    assert len(cells) == 847 + 7 and cells[:, 2].sum() == 39 * 847
    assert cells[(cells[:, 0] == 846) & (cells[:, 1] == 0)].tolist() == [[846, 0, 38]]
    dense = np.zeros((847, 847), np.int64)
    np.add.at(dense, (truth[1:].numpy(), prediction[1:].numpy()), 1)
    assert (from_cells([cells], 847) == dense).all()


# ---- saved predictions of the other datasets


def test_saved_predictions_are_in_the_labels_of_the_masks(tmp_path, capfd):
    """VOC20 takes one off every label; one is added again. The file says the run it is of."""
    bench = TinyBench(tmp_path)
    saved = tmp_path / 'saved'
    assert bench.run(capfd, '--save-predictions', str(saved), config='naclip_voc20').code == 0
    counted = from_cells([np.array(cells) for cells in bench.finished().values()], 20)
    expected = np.zeros((21, 21), np.int64)
    for name in bench.names:
        truth = np.array(Image.open(bench.mask(name)))
        with Image.open(saved / f'{name}.png') as image:
            labels = np.array(image)
            assert image.info['run'] == bench.result()['hashes']['run']
        assert labels.dtype == np.uint8 and labels.shape == truth.shape
        scored = (truth != 0) & (truth != 255)
        np.add.at(expected, (truth[scored], labels[scored]), 1)
    assert (expected[1:, 1:] == counted).all() and counted.sum() == expected.sum() > 0


@pytest.mark.parametrize(
    ('classes', 'reduced', 'dtype'),
    [(255, True, np.uint8), (256, False, np.uint8), (256, True, np.uint16), (257, False, np.uint16)],
)
def test_predictions_have_8_bits_where_all_labels_fit(classes, reduced, dtype):
    metainfo = dict(classes=tuple(map(str, range(classes))))
    dataset = SimpleNamespace(metainfo=metainfo, reduce_zero_label=reduced, label_map=None)
    assert PredictionFiles(dataset, Path(), (), '', {}).stored.dtype == dtype


def test_predictions_have_the_labels_of_the_masks_where_other_classes_are_scored():
    """Of three classes in the masks the last is scored first, the first second, and the second not at all."""
    dataset = SimpleNamespace(metainfo=dict(classes=('c', 'a')), reduce_zero_label=True, label_map={0: 1, 1: 255, 2: 0})
    assert PredictionFiles(dataset, Path(), (), '', {}).stored.tolist() == [3, 1]


# ---- the class names


@pytest.mark.parametrize('key', LARGE)
def test_every_class_can_be_predicted(key):
    """Every class has a word that no earlier class has: that one would win every tie."""
    vocabulary = Vocabulary(key)
    assert set(vocabulary.query_class.tolist()) == set(range(LARGE[key]))


@pytest.mark.parametrize(('key', 'published'), [('pc459', 'PC459'), ('ade847', 'ADEfull')])
def test_class_names_are_the_published_ones(key, published):
    """But for words that are the only name of another class: they are left to it."""
    if not PUBLISHED.exists():
        pytest.skip(f'no published class names at {PUBLISHED}')
    lines = [line.split(', ') for line in json.loads(PUBLISHED.read_text())[published]['labels']]
    alone = {words[0]: index for index, words in enumerate(lines) if len(words) == 1}
    expected = [[word for word in words if alone.get(word, index) == index] for index, words in enumerate(lines)]
    assert Vocabulary(key).classes == expected
    assert sum(a != b for a, b in zip(lines, expected, strict=True)) == (0 if key == 'pc459' else 27)
    assert '\r' not in class_name_file(key).read_text()


def test_cliptrases_names_of_ade_are_whole_lines():
    """A line is one query, as in the released code: no word is left to another class."""
    if not PUBLISHED.exists():
        pytest.skip(f'no published class names at {PUBLISHED}')
    lines = json.loads(PUBLISHED.read_text())['ADEfull']['labels']
    assert [query.replace(',', ', ') for query in Vocabulary('cliptrase_ade847').queries] == lines


@pytest.mark.parametrize('key', LARGE)
def test_printed_names_and_colors_tell_all_classes_apart(tmp_path, key):
    bench = LargeBench(tmp_path, key)
    metainfo = build_dataset(
        load_config(f'naclip_{key}', data_root=str(bench.folder / 'data')).test_dataloader.dataset
    ).metainfo
    assert len(set(metainfo['classes'])) == LARGE[key]
    assert len(np.unique(dataset_palette(metainfo), axis=0)) == LARGE[key]


def test_mistakes_with_predictions_folder(tmp_path, capfd):
    bench = TinyBench(tmp_path)
    (tmp_path / 'taken').write_text('a file')
    assert_one_line(bench.run(capfd, '--save-predictions', str(tmp_path / 'taken')), '--save-predictions', 'taken')
