"""What docs/adding_a_dataset.md tells its reader to write is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_bad_inputs import assert_one_line
from tiny import Outcome, TinyBench, run_here

from naclip_bench.bundled import CONFIGS

DOC = CONFIGS.parent / 'docs' / 'adding_a_dataset.md'

#: The labels of every mask; the last column is not scored.
LABELS = np.repeat([[0, 1, 2, 255]], 6, 0).astype(np.uint8).repeat(16, 0).repeat(16, 1)


def blocks() -> dict[str, str]:
    """The documented files and the command, by what each begins with."""
    found = re.findall(r'(?:^    .*\n|^\n(?=    ))+', DOC.read_text(), re.MULTILINE)
    texts = [re.sub(r'^    ', '', block, flags=re.MULTILINE).strip() + '\n' for block in found]
    return {text.split()[0]: text for text in texts}


class OwnData:
    """A reader's folder, with the documented files in it."""

    def __init__(self, bench: TinyBench) -> None:
        self.bench, self.folder = bench, bench.folder
        texts = blocks()
        assert set(texts) == {'background,', '_base_', 'python'}
        self.names, self.config = self.folder / 'my_classes.txt', self.folder / 'my_config.py'
        self.names.write_text(texts['background,'])
        self.config.write_text(texts['_base_'])
        self.command = shlex.split(texts['python'])
        (self.folder / 'configs').symlink_to(CONFIGS)
        for part in ('images', 'masks'):
            (self.folder / 'path/to/data' / part).mkdir(parents=True)
        self.save_images('.jpg')
        for name in bench.names:
            Image.fromarray(LABELS).save(self.folder / f'path/to/data/masks/{name}.png')

    def save_images(self, suffix: str, mode: str = 'RGB') -> None:
        random = np.random.default_rng(0)
        for name in self.bench.names:
            image = Image.fromarray(random.integers(0, 256, (*LABELS.shape, 3), np.uint8))
            image.convert(mode).save(self.folder / f'path/to/data/images/{name}{suffix}')

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert text.count(old) == 1
        self.config.write_text(text.replace(old, new))

    def run(self, capfd: pytest.CaptureFixture) -> Outcome:
        python, command, *arguments = self.command
        assert (python, command) == ('python', 'tools/test.py')
        # A tiny CLIP, windows and prompts; --data-root is for the suite's own datasets.
        _, _, _, *tiny = self.bench.arguments(options={'model.templates': 'photo'})
        return run_here(capfd, [*arguments, *tiny])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnData:
    own = OwnData(TinyBench(tmp_path))
    monkeypatch.chdir(tmp_path)
    return own


def test_documented_files_run_as_they_stand(own, capfd):
    outcome = own.run(capfd)
    assert outcome.code == 0, outcome.stderr
    result = own.bench.result()
    assert (result['dataset'], result['protocol'], result['settings']['class_names']) == ('mine', 'own', 'my_classes')
    assert result['images'] == {'count': 4, 'official': 4, 'official_list': None, 'limit': None, 'subset': None}
    assert 'a part' not in outcome.stdout
    pixels = {row['class']: row['pixels'] for row in result['per_class']}
    assert pixels == dict.fromkeys(('background', 'cat', 'dog'), 4 * 96 * 16)
    assert result['settings']['queries'] == 6


def test_config_is_of_ten_lines():
    assert len([line for line in blocks()['_base_'].splitlines() if line]) <= 10


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L'])
def test_png_images(own, capfd, mode):
    for name in own.bench.names:
        (own.folder / f'path/to/data/images/{name}.jpg').unlink()
    own.save_images('.png', mode)
    assert_one_line(own.run(capfd), 'path/to/data holds no images', 'images/*.jpg')
    own.change("type='FolderDataset',", "type='FolderDataset', img_suffix='.png',")
    assert own.run(capfd).code == 0
    assert list(own.bench.finished()) == own.bench.names


def test_class_names_of_another_number(own, capfd):
    own.change("type='FolderDataset'", "type='BaseSegDataset'")
    own.change(
        "class_names='my_classes.txt',\n    data_root",
        "metainfo=dict(classes=('background', 'cat', 'dog')),\n    data_root",
    )
    own.names.write_text(own.names.read_text() + 'cow\n')
    assert_one_line(own.run(capfd), 'my_classes.txt has 4 classes', 'BaseSegDataset has 3')


def test_label_beyond_the_classes(own, capfd):
    own.names.write_text('background\ncat\n')
    assert_one_line(own.run(capfd), 'path/to/data/masks/p0.png holds label 2', 'labels 0..1')


def test_more_classes_than_bytes_tell_apart(own, capfd):
    """Each of the three mistakes on the way to 16-bit masks, then the run."""
    own.names.write_text(''.join(f'thing {index}\n' for index in range(300)))
    assert_one_line(own.run(capfd), 'label 255 is not scored', '300 classes', 'ignore_index=65535')
    own.change("type='FolderDataset',", "type='FolderDataset', ignore_index=65535,")
    assert_one_line(own.run(capfd), 'p0.png has 8 bits a pixel', '300 classes', '16 bits')
    wide = np.where(LABELS == 255, 300, LABELS.astype(np.uint16))
    for labels in (wide, np.where(wide == 300, 299, wide)):
        for name in own.bench.names:
            Image.fromarray(labels.astype(np.uint16)).save(own.folder / f'path/to/data/masks/{name}.png')
        outcome = own.run(capfd)
        if labels.max() == 300:
            assert_one_line(outcome, 'p0.png holds label 300', 'labels 0..299', 'ignores 65535')
    assert outcome.code == 0
    assert own.bench.result()['per_class'][299]['pixels'] == 4 * 96 * 16
