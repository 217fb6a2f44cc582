"""The notebook and the page about segmenting run as they stand there."""

from __future__ import annotations

import json
import re

import numpy as np
from PIL import Image

import naclip_bench
from naclip_bench.bundled import CONFIGS
from naclip_bench.cli.segment import FORMATS
from naclip_bench.datasets.materials.dataset import test_scene as drawn

DOCS = CONFIGS.parent / 'docs'


def test_every_cell_of_the_notebook_runs():
    cells = json.loads((DOCS / 'segmenting.ipynb').read_text(encoding='utf-8'))['cells']
    namespace: dict = {}
    for cell in cells:
        if cell['cell_type'] == 'code':
            assert not cell['outputs'] and cell['execution_count'] is None
            exec(''.join(cell['source']), namespace)
    assert {'brick', 'zebra'} < {name for name, pixels in namespace['result'].areas.items() if pixels}


def test_the_first_lines_of_the_page_run(tmp_path, monkeypatch):
    """With the tiny CLIP in place of OpenAI's weights."""
    page = (DOCS / 'segmenting.md').read_text(encoding='utf-8')
    (block,) = re.findall(r'\n    import naclip_bench as nb\n.*?(?=\n\S)', page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(drawn('00000').image).save('photo.jpg')
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda image: shown.append(image))
    own = {**naclip_bench.Segmenter.__init__.__kwdefaults__, 'weights': 'materials'}
    monkeypatch.setattr(naclip_bench.Segmenter.__init__, '__kwdefaults__', own)
    namespace: dict = {}
    exec('\n'.join(line.removeprefix('    ') for line in block.splitlines()), namespace)
    assert namespace['result'].names == ('background', 'dog', 'boat', 'water')
    assert len(shown) == 1 and np.asarray(Image.open('out.png')).shape == drawn('00000').image.shape[:2]


def test_the_page_has_every_argument_and_format():
    page = (DOCS / 'segmenting.md').read_text(encoding='utf-8')
    for name in naclip_bench.Segmenter.__init__.__annotations__.keys() - {'return'}:
        assert f'`{name}`' in page, name
    assert all(f'| `{kind}` |' in page for kind in FORMATS)
