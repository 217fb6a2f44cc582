"""The page: controls, what becomes of a click, and the server. Nothing of it comes from or goes to the network."""

# Gradio reads annotations, of a module that may not be installed: they cannot be put off.
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from ..catalog import list_methods
from ..errors import BenchError
from ..evaluation.overlay import OPACITY
from ..optional import needed
from .workbench import Asked, Workbench, archive, examples, panels

TITLE = 'Your own image, your own words'
ABOUT = 'Training-free open-vocabulary segmentation: several readings of the patches of one frozen CLIP, side by side.'

#: Methods that are chosen when the page opens.
FIRST = ('naclip', 'sclip')

#: Seconds after which files of visitors are deleted.
DAY = 86400

CSS = """
.gradio-container { max-width: 1320px !important; margin: auto; }
#notice { border-left: 4px solid #d97706; padding: 2px 12px; }
"""


def gradio() -> ModuleType:
    """Import Gradio with its reports to its makers switched off.

    Raises:
        BenchError: it is not installed.
    """
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    return needed('gradio', 'demo', 'the page')


def build_page(workbench: Workbench, notice: str, folder: Path) -> Any:
    """Lay out the page, a ``gradio.Blocks``.

    Args:
        notice: what the page says of its weights, Markdown.
        folder: for the examples and what visitors may download.

    Raises:
        BenchError: Gradio is not installed.
    """
    gr = gradio()

    @contextmanager
    def mistakes_told() -> Iterator[None]:
        try:
            yield
        except BenchError as error:
            raise gr.Error(str(error), duration=None, title='Not done', print_exception=False) from None

    def segment(request: gr.Request, image: str | None, opacity: float, *values: Any) -> tuple:
        with mistakes_told():
            results = workbench.segment(image, Asked(*values))
        path = folder / request.session_hash / 'segmentation.zip'
        path.parent.mkdir(exist_ok=True)
        archive(results, opacity / 100, path)
        return panels(results, opacity / 100), results, gr.DownloadButton(value=str(path), interactive=True)

    def draw(results: list | None, opacity: float) -> Any:
        return panels(results, opacity / 100) if results else gr.skip()

    def attend(event: gr.SelectData, image: str | None, *values: Any) -> Any:
        with mistakes_told():
            return workbench.attention(image, Asked(*values), tuple(event.index))

    offered = [[str(path), words] for path, words in examples(folder)]
    # One after the other, whoever asks: there is one model.
    turns = dict(concurrency_id='model', concurrency_limit=1)
    with gr.Blocks(title=f'naclip_bench: {TITLE}', analytics_enabled=False, delete_cache=(DAY, DAY)) as page:
        gr.Markdown(f'# {TITLE}\n{ABOUT}')
        gr.Markdown(notice, elem_id='notice')
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                image = gr.Image(
                    offered[0][0],
                    show_label=False,
                    sources=['upload', 'clipboard'],
                    height=300,
                    buttons=[],
                    elem_id='image',
                )
                # As the file that it is: the suite decodes it, and says what is wrong with it.
                image.preprocess = lambda payload: payload and payload.path
                thumbs = gr.Dataset(
                    components=[gr.Image(render=False)],
                    samples=[[path] for path, _ in offered],
                    type='index',
                    label='Examples',
                    elem_id='examples',
                )
                words = gr.Textbox(
                    offered[0][1],
                    label='Words',
                    info='comma between classes; or "dog, puppy; boat, ship" with synonyms',
                    lines=2,
                    elem_id='words',
                )
                methods = gr.Dropdown(list_methods(), value=list(FIRST), multiselect=True, label='Methods')
                button = gr.Button('Segment', variant='primary', elem_id='segment')
                with gr.Accordion('Settings', open=False):
                    background = gr.Checkbox(True, label='Background: a class for what is none of the words')
                    threshold = gr.Slider(0, 1, 0.1, step=0.01, label='Probability under which a pixel is background')
                    sigma = gr.Slider(0.5, 20, 5, step=0.5, label="sigma of NACLIP's Gaussian, in patches")
                    pamr = gr.Slider(0, 20, 0, step=1, label='PAMR: iterations of refinement')
            with gr.Column(scale=5, min_width=320):
                shown = dict(show_label=False, interactive=False, format='png', buttons=['fullscreen'])
                result = gr.Image(elem_id='result', **shown)
                with gr.Row():
                    opacity = gr.Slider(0, 100, round(100 * OPACITY), step=5, label='Opacity of the colors, %', scale=3)
                    download = gr.DownloadButton('Download', interactive=False, elem_id='download', scale=1)
                gr.Markdown('### Where a patch looks\nClick one in the image on the left.')
                attention = gr.Image(elem_id='attention', **shown)
        kept = gr.State()
        controls = [methods, words, background, threshold, sigma, pamr]
        of_segment = dict(fn=segment, inputs=[image, opacity, *controls], outputs=[result, kept, download], **turns)
        gr.on([button.click, words.submit, page.load], **of_segment)
        thumbs.click(offered.__getitem__, thumbs, [image, words]).then(**of_segment)
        image.select(attend, [image, *controls], attention, **turns)
        opacity.release(draw, [kept, opacity], result, show_progress='hidden')
    return page


@contextmanager
def served(workbench: Workbench, notice: str, host: str, port: int | None) -> Iterator[tuple[Any, str]]:
    """Serve the page until the block ends; gives it, and its address.

    Args:
        notice: see :func:`build_page`.
        host: ``127.0.0.1`` for this machine alone, ``0.0.0.0`` for all that reach it.
        port: None: the first from 7860 on that is free.

    Raises:
        BenchError: Gradio is not installed, or the port is taken.
    """
    with TemporaryDirectory(prefix='naclip_bench_page_') as folder:
        page = build_page(workbench, notice, Path(folder))
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                css=CSS,
                allowed_paths=[folder],
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
            )
        except OSError as error:
            where = f'the port {port}' if port else 'a port from 7860 to 7959'
            raise BenchError(f'the page cannot have {where} of {host}: is it taken? ({error})') from None
        try:
            yield page, address
        finally:
            page.close(verbose=False)
