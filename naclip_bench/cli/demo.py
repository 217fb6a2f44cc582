"""Open a page for images and words of your own in a browser.

naclip-bench demo                               # OpenAI's weights where they are on this machine, else toy ones
naclip-bench demo --weights openai              # fetches them (600 MB, once)
naclip-bench demo --weights ViT-B-16.pt --host 0.0.0.0 --port 8000
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from .arguments import add_import, add_precision

if TYPE_CHECKING:
    from ..segment.segmenter import Segmenter

TOY = (
    '**Toy weights.** CLIP is not on this machine, so the page runs on the tiny CLIP that comes along: it knows the 24 '
    'drawn materials of the examples and *nothing of photographs*. `naclip-bench demo --weights openai` fetches '
    "OpenAI's (600 MB, once), `--weights FILE` takes a file."
)
RANDOM = '**Random weights: nothing on this page means anything.**'


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--weights',
        metavar='WEIGHTS',
        help='open_clip tag, local file, "materials" for the tiny CLIP that comes along, or "none" '
        '(default: openai where it is on this machine, else materials)',
    )
    add('--arch', help="open_clip's name of the architecture (default: ViT-B-16-quickgelu)")
    add_precision(parser)
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps or xpu (default: %(default)s)')
    add('--host', default='127.0.0.1', help='0.0.0.0 for all who reach this machine (default: this machine alone)')
    add('--port', type=int, help='default: the first from 7860 on that is free')
    add_import(parser)


def main(arguments: Namespace) -> None:
    from ..console import telling
    from ..demo.page import gradio, served

    gradio()
    with telling('loading'):
        from ..demo.workbench import Workbench

        segmenter = _segmenter(arguments)
    with served(Workbench(segmenter), notice_of(segmenter), arguments.host, arguments.port) as (page, address):
        print(f'{address}  (Ctrl+C ends it)', flush=True)
        page.block_thread()


def notice_of(segmenter: Segmenter) -> str:
    """What the page says of its weights."""
    from ..figures.picture import weights_of
    from ..segment.segmenter import TINY

    clip = segmenter.member.backbone
    if clip.random_weights:
        return RANDOM
    return TOY if clip.weights_name == TINY else f'{weights_of(clip).capitalize()}; on {segmenter.device}.'


def _segmenter(arguments: Namespace) -> Segmenter:
    """Load the weights that are asked for, or those at hand."""
    from ..backbones.fetching import AbsentWeightsError, offline
    from ..segment.segmenter import TINY, Segmenter

    how = dict(arch=arguments.arch, precision=arguments.precision, device=arguments.device)
    if arguments.weights is not None or arguments.arch is not None:
        return Segmenter('naclip', ['image'], weights=arguments.weights, **how)
    try:
        with offline():
            return Segmenter('naclip', ['image'], **how)
    except AbsentWeightsError:
        return Segmenter('naclip', ['image'], weights=TINY, **how)
