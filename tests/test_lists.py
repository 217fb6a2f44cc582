"""Lists of images in the forms that people have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import TinyBench

from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.datasets.check import image_names, select
from naclip_bench.datasets.subset import read_subset
from naclip_bench.errors import BenchError
from naclip_bench.vocabulary import Vocabulary


@pytest.fixture
def bench(tmp_path: Path) -> TinyBench:
    return TinyBench(tmp_path)


def names_of(bench: TinyBench) -> list[str]:
    config = load_config('naclip_voc21', str(bench.folder / 'data')).test_dataloader.dataset
    dataset = build_dataset(config)
    for index, name in enumerate(image_names(dataset)):
        info = dataset.get_data_info(index)
        # What is listed decides image and mask alike.
        assert (Path(info['img_path']), Path(info['seg_map_path'])) == (bench.image(name), bench.mask(name))
    return image_names(dataset)


FORMS = {
    'blank lines': 'p2\n\n  \np0\n\n',
    'byte-order mark': '\ufeffp2\np0\n',
    'line ends of Windows': 'p2\r\np0\r\n',
    'comments': '# mine\np2\np0\n',
    'suffix': 'p2.jpg\np0.jpg\n',
    'image and mask': 'p2.jpg p2.png\np0.jpg p0.png\n',
    'image and mask below the root': 'JPEGImages/p2.jpg SegmentationClass/p2.png\nJPEGImages/p0.jpg\tx/p0.png\n',
    'from the root': '/JPEGImages/p2.jpg /SegmentationClass/p2.png\n/JPEGImages/p0.jpg /SegmentationClass/p0.png\n',
    'commas': 'p2.jpg,p2.png\np0.jpg,p0.png\n',
    'Main': 'p2  1\np0  1\n',
    'absolute': '{voc}/JPEGImages/p2.jpg\n{voc}/JPEGImages/p0\n',
}


@pytest.mark.parametrize('form', FORMS)
def test_form_that_has_one_meaning(bench, form):
    bench.list.write_bytes(FORMS[form].format(voc=bench.voc).encode())
    assert names_of(bench) == ['p2', 'p0']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('p2 -1\np0  1\n', r'val.txt has 2 columns \("p2 -1"\); wanted: one name a line'),
        ('p2.jpg p1.png\n', r'has 2 columns \("p2.jpg p1.png"\)'),
        ('p2 1 0.5\n', 'has 3 columns'),
        ('/elsewhere/p2.jpg\n', r'lists paths \("/elsewhere/p2.jpg"\); wanted: one name a line'),
        ('p9  1\n', r'1 of 1 images are missing, the first .*/p9\.jpg'),
        ('p9.jpg\n', r'1 of 1 images are missing, the first .*/p9\.jpg'),
    ],
)
def test_other_forms_are_named(bench, text, message):
    bench.list.write_text(text)
    with pytest.raises(BenchError, match=message):
        names_of(bench)


def test_list_with_the_suffix_of_other_images(bench):
    bench.image('p2').rename(bench.image('p2').with_suffix('.jpeg'))
    bench.list.write_text('p2.jpeg\n')
    with pytest.raises(BenchError, match=r'lists "p2\.jpeg", but img_suffix is "\.jpg"'):
        names_of(bench)


def test_list_that_is_no_text(bench):
    bench.list.write_bytes(b'\xff\xfe\0p')
    with pytest.raises(BenchError, match='is no text'):
        names_of(bench)


def test_names_with_spaces_and_dots_are_names(bench):
    for old, new in (('p0', 'a b'), ('p1', 'p1.jpg')):
        bench.image(old).rename(bench.image(new))
        bench.mask(old).rename(bench.mask(new))
    bench.list.write_text('a b\np1.jpg\n')
    config = load_config('naclip_voc21', str(bench.folder / 'data')).test_dataloader.dataset
    assert [Path(build_dataset(config).get_data_info(index)['img_path']).name for index in (0, 1)] == [
        'a b.jpg',
        'p1.jpg.jpg',
    ]


@pytest.mark.parametrize('text', ['\ufeffp1\np3\n', 'p1.jpg\n\nx/p3.jpg', 'p1  1\np3  1\n', 'p1.jpg p1.png\np3\n'])
def test_subset_in_another_form(bench, text):
    path = bench.folder / 'subset.txt'
    path.write_text(text, encoding='utf-8')
    assert select(bench.names, None, path, '.jpg') == [1, 3]


def test_images_outside_never_lead_outputs_outside(bench, capfd):
    for old, new in ((bench.image('p1'), bench.image('../../up')), (bench.mask('p1'), bench.mask('../../up'))):
        new.parent.mkdir(exist_ok=True)
        old.rename(new)
    bench.list.write_text('p0\n../../up\n')
    before = {path for path in bench.folder.rglob('*') if path.is_file()}
    shown, saved = (bench.folder / 'out' / 'deep' / part for part in ('shown', 'saved'))
    outcome = bench.run(capfd, '--show-dir', str(shown), '--save-predictions', str(saved))
    assert outcome.code == 0, outcome.stderr
    made = {path for path in bench.folder.rglob('*.png')} - before
    assert len(made) == 4 and all(path.is_relative_to(shown) or path.is_relative_to(saved) for path in made)


# ---- names of what comes along, and paths


def test_file_in_the_current_folder_takes_no_bundled_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('voc21', 'voc21_50', 'mine'):
        Path(name).write_text('own\n')
    assert len(Vocabulary('voc21')) == 21 and len(read_subset(Path('voc21_50'))) == 50
    # A path says that it is one; so does a name that nothing bundled has.
    assert Vocabulary('./voc21').classes == [['own']]
    assert Vocabulary('mine').classes == [['own']] and read_subset(Path('mine')) == ['own']
    Path('voc21.txt').write_text('other\n')
    assert Vocabulary('voc21.txt').classes == [['other']]
