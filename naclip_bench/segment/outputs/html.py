"""A gallery: every image with what the methods made of it, and the shares of its classes, as one page of the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ...files import written_beside
from ...optional import needed

TEMPLATE = Path(__file__).with_name('gallery.html.j2')


@dataclass(frozen=True)
class Shown:
    """An image on the page.

    Attributes:
        name: of the image.
        overlays: path of each overlay below the page's folder, by method.
        shares: (class, share in percent, CSS color), the largest first, by method.
    """

    name: str
    overlays: dict[str, str]
    shares: dict[str, list[tuple[str, float, str]]]


def write_gallery(path: Path, images: Sequence[Shown], notes: Sequence[str]) -> None:
    """Write the page.

    Args:
        images: in their order.
        notes: what stands at its top.
    """
    jinja2 = needed('jinja2', 'segment', 'an HTML gallery')
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['address'] = quote
    page = environment.from_string(TEMPLATE.read_text(encoding='utf-8')).render(images=images, notes=notes)
    with written_beside(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
