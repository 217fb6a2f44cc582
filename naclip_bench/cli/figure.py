"""Draw what the papers draw, as PNG and SVG.

naclip-bench figure attention                                    (Materials and its tiny CLIP, unless said otherwise)
naclip-bench figure attention --image photo.jpg --point 210,140 --method clip,sclip,naclip
naclip-bench figure correlation --dataset voc21 --image 2007_000033
naclip-bench figure curve naclip/sigma --datasets voc21 pc60
naclip-bench figure NAME --help
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import BenchError, CommandParser, say
from .arguments import add_data_root, add_model_arguments, add_part, options_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mmengine.config import Config

#: Every figure and what it shows.
FIGURES = {
    'attention': 'where patches and [CLS] look, at any block (NACLIP 1, SCLIP 2 and 4, CLIPtrase 2, GCLIP 1a)',
    'correlation': 'a patch before and after correlation recovery, global patches (CLIPtrase 1b, 4, 6, 9)',
    'clusters': 'clusters of patches, with and without denoising (CLIPtrase 5, 10)',
    'norms': 'weight norms, their entropy, values inside and outside a class, emerging block (GCLIP 1b, 3)',
    'gaussian': 'the Gaussian, and what it does to a patch (NACLIP 2, 4)',
    'sheet': 'images beside what methods make of them, masks or none (SCLIP 1, NACLIP 3, 6, 7)',
    'curve': 'a table whose rows are values of a setting, as sigma (NACLIP 5)',
    'grid': "scores over CLIPtrase's eps and min_samples (CLIPtrase 7)",
    'radar': 'rows of a table over its datasets (CLIPtrase 1a)',
    'bars': 'any table, with 95 % intervals',
}

#: Figures of images, and their methods where none are asked for.
METHODS = {
    'attention': 'clip,sclip,naclip',
    'correlation': 'cliptrase',
    'clusters': 'cliptrase',
    'norms': 'gclip',
    'gaussian': 'naclip',
    'sheet': 'clip,sclip,naclip',
}

#: Those of several images, and of how many where none are asked for; the others are of one.
LIMITS = {'clusters': 3, 'norms': 20, 'sheet': 3}
ONE_IMAGE = tuple(name for name in METHODS if name not in LIMITS)

#: The table of a chart where none is asked for.
TABLES = {'curve': 'naclip/sigma', 'radar': 'materials/methods', 'bars': 'materials/methods'}

#: Rows of the radar, where neither it nor a table is asked for: as many as an eye can follow.
COMPARED = ('CLIP', 'MaskCLIP', 'SCLIP', 'CLIPtrase', 'NACLIP')


def listed(kind: Callable[[str], object]) -> Callable[[str], list]:
    """A list with commas between: ``1,3,5``; of whole numbers also ``1-12``."""

    def parse(texts: str) -> list:
        try:
            if kind is int and '-' in texts:
                first, last = map(int, texts.split('-'))
                return [*range(first, last + 1)]
            return [kind(text) for text in texts.split(',')]
        except ValueError:
            raise ArgumentTypeError(f'"{texts}" is no list of numbers with commas between') from None

    return parse


def point(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(','))
    except ValueError:
        raise ArgumentTypeError(f'"{text}" is not X,Y in whole pixels') from None
    return x, y


# ---- options


def add_arguments(parser: ArgumentParser) -> None:
    names = parser.add_subparsers(dest='figure', metavar='NAME', required=True, title='figures', parser_class=_Parser)
    figures = {
        # argparse takes a percent sign for a place to fill.
        name: names.add_parser(name, help=about.replace('%', '%%'), description=f'{about[0].upper()}{about[1:]}.')
        for name, about in FIGURES.items()
    }
    add_options(figures)


def add_options(figures: Mapping[str, ArgumentParser]) -> None:
    """Add each figure's options to its parser."""

    def add(to: Iterable[str], *option: str, **about: object) -> None:
        for name in figures.keys() & {*to}:
            figures[name].add_argument(*option, **about)

    image = 'a file, or the name of an image of the dataset (default: its first)'
    add(ONE_IMAGE, '--image', nargs=1, default=[], metavar='IMAGE', help=image)
    add(LIMITS, '--image', nargs='+', default=[], metavar='IMAGE', help=image)
    for name, limit in LIMITS.items():
        add([name], '--limit', type=int, default=limit, metavar='N', help='the first N images (default: %(default)s)')
    whose = 'whose images, sizes and classes (default: materials24; voc21 where IMAGE is a file)'
    add(METHODS, '--dataset', help=whose)
    for name, methods in METHODS.items():
        what = 'methods or configs, comma between them' if ',' in methods else 'or a config of it'
        add([name], '--method', default=methods, help=f'{what} (default: %(default)s)')
    points = "pixel whose patch looks; repeatable (default: inside the image's two largest classes)"
    add(('attention', 'correlation'), '--point', type=point, action='append', metavar='X,Y', help=points)
    add(['gaussian'], '--point', type=point, metavar='X,Y', help='see attention (default: inside the largest class)')
    blocks = 'from 1, as 3,6,12 or 1-12 (default: the last)'
    add(['attention'], '--block', type=listed(int), default=[], metavar='N', help=blocks)
    add(['attention'], '--head', type=int, metavar='N', help='from 1 (default: the mean over heads)')
    short = "pixels of an image file's short side as methods see it (default: the dataset's)"
    add(['attention'], '--short-side', type=int, metavar='N', help=short)
    add(
        ['attention'],
        '--show',
        nargs='+',
        metavar='ROW',
        default=['points', 'cls', 'to_cls'],
        help='points: where these look; cls: where [CLS] looks; to_cls: who looks at it; global: where the patch looks '
        'that all look at; matrix: everything (default: points cls to_cls)',
    )
    add(['sheet'], '--words', metavar='A,B,...', help="classes to tell apart, in place of the dataset's")

    for name, table in TABLES.items():
        add([name], 'table', nargs='?', metavar='TABLE', help=f'see the list (default: {table})')
    add(TABLES, '--rows', nargs='+', metavar='ROW', help='only these rows: by name, or a part of it')
    add(TABLES, '--paper', action='store_true', help="the paper's own values; nothing is run")
    add(['grid'], '--eps', type=listed(float), metavar='E,E,...', help='default: 0.3,0.5,...,1.3')
    add(['grid'], '--min-samples', type=listed(int), metavar='N,N,...', help='default: 1,3,5,7,9')
    charts = [name for name in FIGURES if name not in METHODS]
    add(charts, '--datasets', nargs='+', metavar='NAME', help="default: materials24, or all of the table's own")
    add(charts, '--store', type=Path, default=Path('work_dirs/results'), metavar='DIR', help='default: %(default)s')
    for name, figure in figures.items():
        if name in charts:
            add_part(figure)
        add_data_root(figure)
        add_model_arguments(figure)
    add(FIGURES, '--out', type=Path, metavar='STEM', help='of STEM.png and STEM.svg (default: work_dirs/figures/NAME)')


class _Parser(CommandParser):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{'formatter_class': RawDescriptionHelpFormatter, **kwargs})


# ---- work


def main(arguments: Namespace) -> None:
    from ..configuration import register
    from ..files import make_folder
    from ..optional import needed

    register()
    needed('matplotlib', 'report', 'a figure')
    import torch

    from ..figures.canvas import save

    stem = arguments.out or Path('work_dirs/figures') / arguments.figure
    if stem.suffix in ('.png', '.svg'):
        stem = stem.with_suffix('')
    make_folder('--out', stem.parent)
    draw = _chart if hasattr(arguments, 'store') else _of_images
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    for path in save(draw(arguments, device), stem):
        print(path)


def _of_images(arguments: Namespace, device: object) -> object:
    """A figure of images: the methods' configs, the images, and what is drawn of both."""
    from ..figures.attention import attention, check_rows, draw_attention
    from ..figures.clusters import clusters, draw_clusters
    from ..figures.correlation import correlation, draw_correlation
    from ..figures.gaussian import draw_gaussian, gaussian
    from ..figures.norms import draw_norms, norms
    from ..figures.picture import build_members, open_pictures
    from ..figures.sheet import draw_sheet, sheet

    if arguments.figure == 'attention':
        check_rows(arguments.show)
    limit, short_side = getattr(arguments, 'limit', 1), getattr(arguments, 'short_side', None)
    for option, number in (('--limit', limit), ('--short-side', short_side)):
        if number is not None and number < 1:
            raise BenchError(f'{option} is {number}; it must be at least 1')
    with _configs(arguments) as configs:
        pictures = open_pictures(next(iter(configs.values())), arguments.image, limit, short_side)
        members = build_members(configs, device)
    picture, member = pictures[0], next(iter(members.values()))
    if arguments.figure == 'attention':
        points = arguments.point or picture.points(2)
        return draw_attention(attention(picture, members, points, arguments.block, arguments.head), arguments.show)
    if arguments.figure == 'correlation':
        return draw_correlation(correlation(picture, member, arguments.point or picture.points(2)))
    if arguments.figure == 'gaussian':
        return draw_gaussian(gaussian(picture, member, arguments.point or picture.points(1)[0]))
    if arguments.figure == 'norms':
        return draw_norms(norms(pictures, member))
    if arguments.figure == 'clusters':
        found = [(of, clusters(of, member, False), clusters(of, member, True)) for of in pictures]
        return draw_clusters(found, member)
    if arguments.words:
        # They are not the classes of any mask.
        for of in pictures:
            of.truth = None
    return draw_sheet(sheet(pictures, members), member)


@contextmanager
def _configs(arguments: Namespace) -> Iterator[dict[str, Config]]:
    """The config of each method on the dataset, with the words of the command line while it lasts."""
    from ..configuration import load_config, load_pair, method_bases, method_config

    files = any(Path(image).is_file() for image in arguments.image)
    dataset = arguments.dataset or ('voc21' if files else 'materials24')
    root, pretrained, precision, options = settings_of(arguments)
    with TemporaryDirectory() as folder:
        if getattr(arguments, 'words', None):
            words = Path(folder) / 'words.txt'
            words.write_text('\n'.join(word.strip() for word in arguments.words.split(',')) + '\n', encoding='utf-8')
            options = {'model.class_names': str(words), 'model.prob_thd': 0.0, **(options or {})}
        settings = root, pretrained, precision, options
        configs = {}
        for name in arguments.method.split(','):
            if name in method_bases():
                configs[name] = load_pair(name, dataset, *settings)
            else:
                configs[name] = load_config(method_config(name), *settings)
        yield configs


def _chart(arguments: Namespace, device: object) -> object:
    """A chart of a table: its numbers, of which the store may have all."""
    from ..configuration import config_names
    from ..evaluation.store import Store
    from ..figures.charts import CHARTS, on_datasets, report_of
    from ..figures.grid import EPS, MIN_SAMPLES, clustering
    from ..tables.tables import find_table

    name, datasets, paper = arguments.figure, arguments.datasets, getattr(arguments, 'paper', False)
    if name == 'grid':
        datasets = datasets or ['materials24']
        official = 'official/cliptrase_{dataset}_224'
        released = all(official.format(dataset=dataset) in config_names() for dataset in datasets)
        values = arguments.eps or EPS, arguments.min_samples or MIN_SAMPLES
        table = clustering(datasets, *values, official if released else 'cliptrase_{dataset}')
    else:
        table = find_table(arguments.table or TABLES[name])
        if name == 'curve' and datasets is None and not paper and not table.values():
            datasets = ['materials24']
        table = on_datasets(table, datasets)
    rows = getattr(arguments, 'rows', None)
    if name == 'radar' and arguments.table is None:
        rows = rows or COMPARED
    options = options_of(arguments, datasets, rows)
    report = report_of(table, options, None if paper else Store(arguments.store), lambda line: say(f'left out: {line}'))
    if len(report.blocks) > 1:
        print(f'drawn: {report.blocks[0].metric}, the first of {len(report.blocks)} metrics', file=sys.stderr)
    return CHARTS[name](report.blocks[0])
