"""Segment images of your own with words of your own.

naclip-bench segment photo.jpg --words "dog, boat, water" --background --out out
naclip-bench segment folder/ 'more/**/*.png' film.mp4 --words words.txt --method naclip,sclip --save png,overlay,html
naclip-bench segment photo.jpg --words "grass, brick, sand" --weights materials    # no download
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError, did_you_mean
from .arguments import Settings, add_import, add_precision

#: As in :mod:`naclip_bench.segment.batch`, which takes seconds to import.
FORMATS = ('png', 'overlay', 'coco', 'coco-polygons', 'geojson', 'geotiff', 'npz', 'csv', 'html')


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='images, folders, patterns, videos, or - for a list of paths on stdin',
    )
    add(
        '--words',
        metavar='WORDS',
        help='classes, as "dog, boat, water", or "dog, puppy; boat" with synonyms, or a .txt file with a class a line',
    )
    add(
        '--background',
        nargs='?',
        const=True,
        default=False,
        metavar='WORDS',
        help='add a class for what is none of the words; its own words are "sky, wall, ..." unless given',
    )
    add(
        '--threshold',
        action='append',
        metavar='[CLASS=]P',
        help='probability under which a pixel is background (default: 0.1); repeatable by class',
    )
    add('--method', default='naclip', help='methods or a config, comma between them (default: %(default)s)')
    add('--out', type=Path, default=Path('work_dirs/segment'), metavar='DIR', help='default: %(default)s')
    add('--save', default='png,overlay', metavar='KINDS', help=f'of {", ".join(FORMATS)} (default: %(default)s)')
    add(
        '--weights',
        metavar='WEIGHTS',
        help='open_clip tag, local file, "materials" for the tiny CLIP that comes along, or "none" (default: openai)',
    )
    add('--arch', help="open_clip's name of the architecture (default: ViT-B-16-quickgelu)")
    add_precision(parser)
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps or xpu (default: %(default)s)')
    add('--short-side', metavar='PIXELS', help='to which images are resized, or "original" (default: 336)')
    add('--every', type=int, default=1, metavar='N', help='of a video each N-th frame (default: %(default)s)')
    add('--masks', type=Path, metavar='DIR', help='score against the masks in DIR, which have the names of the images')
    add('--colors', type=Path, metavar='FILE', help='of colored masks: lines like "255 0 0 boat", or "0 0 0 ignore"')
    add('--labels', type=Path, metavar='FILE', help='of masks with other values: lines like "7 boat", or "0 ignore"')
    add('--reduce-zero-label', action='store_true', help='of masks like those of ADE20K: 0 is not scored, 1 is class 0')
    add('--fresh', action='store_true', help='segment everything anew, also what is finished')
    add(
        '--cfg-options',
        nargs='+',
        action=Settings,
        metavar='KEY=VALUE',
        help='change any setting of the method: model.stride=56 model.window_batch=64',
    )
    add_import(parser)


def main(arguments: Namespace) -> int:
    formats = [kind.strip() for kind in arguments.save.split(',') if kind.strip()]
    for kind in formats:
        if kind not in FORMATS:
            raise BenchError(f'--save: there is no {kind}{did_you_mean(kind, FORMATS)}')
    if arguments.every < 1:
        raise BenchError(f'--every is {arguments.every}; it must be at least 1')
    if arguments.masks is None and (arguments.colors or arguments.labels or arguments.reduce_zero_label):
        raise BenchError('--colors, --labels and --reduce-zero-label say what masks mean; give --masks too')
    side = arguments.short_side
    if side is not None and side != 'original':
        if not side.isdigit():
            raise BenchError(f'--short-side is {side}; it must be pixels, or "original"')
        side = int(side)

    from ..files import make_folder
    from ..segment.listing import find_inputs

    inputs = find_inputs(arguments.inputs, sys.stdin if '-' in arguments.inputs else ())
    _check_libraries(formats)
    make_folder('--out', arguments.out)

    from ..console import telling
    from ..evaluation.printed import print_scores
    from ..evaluation.record import RANDOM_WEIGHTS
    from ..segment.batch import BatchRun
    from ..segment.masks import Masks, scored
    from ..segment.segmenter import Segmenter

    first, *others = [method.strip() for method in arguments.method.split(',')]
    with telling('loading'):
        segmenter = Segmenter(
            first,
            arguments.words,
            background=arguments.background,
            threshold=_thresholds(arguments.threshold),
            weights=arguments.weights,
            arch=arguments.arch,
            precision=arguments.precision,
            device=arguments.device,
            short_side=side,
            settings=arguments.cfg_options,
        )
        segmenters = [segmenter, *(segmenter.with_method(method) for method in dict.fromkeys(others))]
    masks = None
    if arguments.masks is not None:
        masks = Masks(arguments.masks, segmenter.names, arguments.colors, arguments.labels, arguments.reduce_zero_label)
    if segmenter.member.backbone.random_weights:
        print(RANDOM_WEIGHTS, file=sys.stderr)
    done = BatchRun(segmenters, arguments.out, formats, masks, arguments.every, arguments.fresh)(inputs)
    if masks is not None and any(done.entries.values()):
        for method, entries in done.entries.items():
            rows, metrics = scored(segmenter.names, [entry['scores'] for entry in entries])
            print(f'{method}, {len(entries)} images')
            print_scores(rows, metrics)
    skipped = f', {done.skipped} were there already' if done.skipped else ''
    print(f'{done.made} segmented{skipped}: {arguments.out}')
    if done.coarse:
        print(f'note: {done.coarse}; --short-side original, or more than 336, shows it more', file=sys.stderr)
    for line in done.broken:
        print(f'error: {line}', file=sys.stderr)
    if done.broken:
        print(f'{len(done.broken)} could not be segmented, see above', file=sys.stderr)
    return 1 if done.broken else 0


def _thresholds(given: list[str] | None) -> float | dict[str, float] | None:
    """One number, or one by class."""
    found: dict[str, float] = {}
    for text in given or ():
        name, _, number = text.rpartition('=')
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise BenchError(f'--threshold {text}: "{number}" is no number; give 0.2, or boat=0.2') from None
    if not found:
        return None
    if set(found) == {''}:
        return found['']
    if '' in found:
        raise BenchError('--threshold: give one for all, or one by class, not both')
    return found


def _check_libraries(formats: list[str]) -> None:
    """See that what the formats need is installed, before anything slow begins."""
    from ..optional import needed

    wanted = {
        'coco': ('pycocotools', 'segment'),
        'coco-polygons': ('rasterio', 'geo'),
        'geojson': ('rasterio', 'geo'),
        'geotiff': ('rasterio', 'geo'),
        'html': ('jinja2', 'segment'),
    }
    for kind in formats:
        if kind in wanted:
            needed(*wanted[kind], f'--save {kind}')
