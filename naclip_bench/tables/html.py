"""A report as one HTML page that stands alone: no script, style, font or image from elsewhere."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from mmseg.registry import TRANSFORMS
from PIL import Image

from ..errors import BenchError
from ..evaluation.leaf import Leaf
from ..optional import needed
from .bootstrap import RESAMPLES
from .compare import Differing
from .papers import PAPERS, text
from .report import MARKS, Block, Line, Number, Report, images

TEMPLATE = Path(__file__).with_name('report.html.j2')

#: Longest side in pixels of an image on the page.
THUMBNAIL = 220


def as_html(report: Report) -> str:
    jinja2 = needed('jinja2', 'report', 'the report as HTML')
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding='utf-8'))
    results = report.results().values()
    papers = dict.fromkeys(block.spec.key.split('/')[0] for block in report.blocks)
    return template.render(
        report=report,
        papers=[PAPERS[paper] for paper in papers if paper in PAPERS],
        meanings=MARKS,
        per_class=_per_class(list(results)),
        results=results,
        resamples=RESAMPLES,
        text=text,
        images=images,
        thumbnail=thumbnail,
    )


def _per_class(results: list[tuple[Block, Line, Number]]) -> dict[str, tuple[list, list]]:
    """By dataset: the results, and a row a class: its name, and its IoU in each of them."""
    found: dict[str, list[tuple[Block, Line, Number]]] = {}
    for entry in results:
        cell = entry[2].cell
        if cell.metric != 'accuracy':
            found.setdefault(cell.dataset, []).append(entry)
    tables = {}
    for dataset, entries in found.items():
        of_each = [number.result.record['per_class'] for _, _, number in entries]
        rows = [(classes[0]['class'], [of['IoU'] for of in classes]) for classes in zip(*of_each, strict=True)]
        tables[dataset] = entries, rows
    return tables


def thumbnail(image: Differing, leaf: Leaf) -> str | None:
    """A small copy of an image as a data URI; None where it cannot be read any more."""
    load = TRANSFORMS.build(leaf.config.test_dataloader.dataset.pipeline[0])
    try:
        pixels = load(dict(img_path=image.path))['img']
    except BenchError:
        return None
    small = Image.fromarray(pixels[..., ::-1])
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, 'JPEG', quality=80)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()
