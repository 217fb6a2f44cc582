"""A report as one HTML page that stands alone: no script, style, font or image from elsewhere."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from mmseg.registry import TRANSFORMS
from PIL import Image

from ..console import telling
from ..errors import BenchError
from ..evaluation.leaf import Leaf
from ..optional import needed
from .bootstrap import RESAMPLES
from .compare import Comparison, Differing
from .compared_pictures import compared_pictures
from .papers import PAPERS, text
from .report import MARKS, Block, Line, Number, Report, images

TEMPLATE = Path(__file__).with_name('report.html.j2')

#: Longest side in pixels of an image alone on the page, and of one with ground truth and predictions.
THUMBNAIL, COMPARED = 220, 1200


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
        pictures=_pictures,
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


def _pictures(comparison: Comparison) -> tuple[dict[str, str], str]:
    """Compared images as data URIs by name, with ground truth and both predictions, and what else is to be said.

    Where they cannot be segmented any more, the images alone, and why.
    """
    try:
        with telling(f'{comparison.dataset}: pictures of compared images'):
            pictures = compared_pictures(comparison)
            return {name: _data_uri(picture, COMPARED) for name, picture in pictures.items()}, ''
    except BenchError as error:
        alone = {image.name: thumbnail(image, comparison.leaves[0]) for image in comparison.images}
        found = {name: data for name, data in alone.items() if data}
        return found, f'The predictions cannot be drawn: {error}'


def thumbnail(image: Differing, leaf: Leaf) -> str | None:
    """A small copy of an image as a data URI; None where it cannot be read any more."""
    load = TRANSFORMS.build(leaf.config.test_dataloader.dataset.pipeline[0])
    try:
        pixels = load(dict(img_path=image.path))['img']
    except BenchError:
        return None
    return _data_uri(Image.fromarray(pixels[..., ::-1]), THUMBNAIL)


def _data_uri(picture: Image.Image, longest: int) -> str:
    small = picture.copy()
    small.thumbnail((longest, longest))
    file = io.BytesIO()
    small.save(file, 'JPEG', quality=85)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()
