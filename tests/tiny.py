"""A benchmark of a few small images, and the command run over it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from naclip_bench.evaluation.store import Store

COMMAND = Path(__file__).resolve().parent.parent / 'tools' / 'test.py'

#: A CLIP that is built and run in milliseconds.
TINY_CLIP = {
    'embed_dim': 32,
    'quick_gelu': True,
    'vision_cfg': {'image_size': 32, 'layers': 2, 'width': 64, 'head_width': 32, 'patch_size': 16},
    'text_cfg': {'context_length': 77, 'vocab_size': 49408, 'width': 32, 'heads': 1, 'layers': 1},
}

#: What Python does not show of itself, so that it is no line on stderr.
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@dataclass
class Outcome:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str


class TinyBench:
    """A Pascal VOC of a few small images, and ``tools/test.py`` run over it with a tiny CLIP.

    Args:
        folder: where everything lies.
        classes: labels that occur in the masks, beside 255.
        count: images p0, p1, ...
    """

    def __init__(self, folder: Path, classes: Sequence[int] = range(21), count: int = 4) -> None:
        self.folder, self.work_dir = folder, folder / 'work'
        self.voc = folder / 'data' / 'VOCdevkit' / 'VOC2012'
        self.list = self.voc / 'ImageSets' / 'Segmentation' / 'val.txt'
        self.arch = folder / 'tiny.json'
        folder.mkdir(parents=True, exist_ok=True)
        self.arch.write_text(json.dumps(TINY_CLIP))
        self.names = [f'p{index}' for index in range(count)]
        for path in (self.image('p0'), self.mask('p0'), self.list):
            path.parent.mkdir(parents=True)
        self.list.write_text(''.join(f'{name}\n' for name in self.names))
        random = np.random.default_rng(0)
        for name in self.names:
            colors, labels = random.integers(0, 256, (8, 12, 3), np.uint8), random.choice(classes, (4, 6))
            Image.fromarray(colors.repeat(8, 0).repeat(8, 1)).save(self.image(name))
            labels = labels.astype(np.uint8).repeat(16, 0).repeat(16, 1)
            labels[:2] = 255
            self.save_mask(name, labels)

    def image(self, name: str) -> Path:
        return self.voc / 'JPEGImages' / f'{name}.jpg'

    def mask(self, name: str) -> Path:
        return self.voc / 'SegmentationClass' / f'{name}.png'

    def save_mask(self, name: str, labels: np.ndarray) -> None:
        image = Image.fromarray(labels)
        image.putpalette([channel for index in range(256) for channel in (index, 255 - index, index // 2)])
        image.save(self.mask(name))

    def arguments(
        self,
        *more: str,
        config: str = 'naclip_voc21',
        pretrained: str | Path = 'none',
        options: Mapping[str, object] | None = None,
        work_dir: Path | None = None,
        without: Sequence[str] = (),
    ) -> list[str]:
        settings = {
            'model.backbone.arch': self.arch,
            'model.window': 32,
            'model.stride': 16,
            'test_dataloader.dataset.pipeline.1.scale': '(2048,48)',
            'test_dataloader.num_workers': 0,
            'test_dataloader.batch_size': 2,
            **(options or {}),
        }
        work_dir = work_dir or self.work_dir
        fixed = {'--data-root': self.folder / 'data', '--pretrained': pretrained}
        fixed |= {'--work-dir': work_dir, '--store': work_dir / 'store'}
        fixed = {option: value for option, value in fixed.items() if option not in without}
        changed = [f'{key}={value}' for key, value in settings.items()]
        return [config, *(str(x) for pair in fixed.items() for x in pair), *more, '--cfg-options', *changed]

    def run(self, capfd: pytest.CaptureFixture, *more: str, **changes: object) -> Outcome:
        """Run the command in this process, which spares the seconds of its imports; see :meth:`arguments`."""
        return run_here(capfd, self.arguments(*more, **changes))

    def store(self, work_dir: Path | None = None) -> Store:
        return Store((work_dir or self.work_dir) / 'store')

    def finished(self, work_dir: Path | None = None) -> dict[str, list]:
        """Cells of each finished image, by name: of the leaf that has a result, or else of the only one."""
        store = self.store(work_dir)
        keys = {path.name.split('.')[0] for path in store.folder.glob('*.*')}
        if not keys:
            return {}
        whole = ((work_dir or self.work_dir) / 'result.json').exists()
        (key,) = [self.result(work_dir)['hashes']['run']] if whole else keys
        entry = store.get(key)
        images = {**(entry.images if entry else {}), **store.unsealed(key)}
        return {name: images[name].cells.tolist() for name in sorted(images)}

    def result(self, work_dir: Path | None = None) -> dict:
        return json.loads(((work_dir or self.work_dir) / 'result.json').read_text())


def run_here(capfd: pytest.CaptureFixture, arguments: Sequence[object], command: Path = COMMAND) -> Outcome:
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        patch.setattr(sys, 'argv', [str(command), *map(str, arguments)])
        patch.setattr(sys, 'path', list(sys.path))
        warnings.simplefilter('default')
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(command), run_name='__main__')
    shown = [
        warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in caught if w.category not in HIDDEN
    ]
    out, err = capfd.readouterr()
    return Outcome(ended.value.code, out, err + ''.join(shown))


def run_process(
    arguments: Sequence[str], launcher: Sequence[str] = (), command: Path = COMMAND, **environment: object
) -> Outcome:
    """Run the command as a user does, ``launcher`` being what stands between Python and it."""
    done = subprocess.run(
        [sys.executable, *launcher, str(command), *arguments],
        env={**os.environ, **{key: str(value) for key, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_kept(bench: TinyBench, names: Sequence[str]) -> None:
    """The store holds these images; there is no result, and nothing half-written."""
    assert list(bench.finished()) == list(names)
    assert not (bench.work_dir / 'result.json').exists()
    assert not list(bench.folder.rglob('*.tmp'))
