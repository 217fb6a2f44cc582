"""Draw where a patch of an image looks, in several methods.

naclip-bench attention photo.jpg --point 210,140 --method naclip,sclip,clip
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_model_arguments


def point(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(','))
    except ValueError:
        raise ArgumentTypeError(f'"{text}" is not X,Y in whole pixels') from None
    return x, y


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('image', type=Path, help='the image')
    add(
        '--point', type=point, required=True, action='append', metavar='X,Y', help='pixel whose patch looks; repeatable'
    )
    add('--method', default='naclip,sclip,clip', help='methods or configs, comma between them (default: %(default)s)')
    add('--short-side', type=int, default=336, help='pixels that the image is resized to (default: %(default)s)')
    add('--out', type=Path, metavar='FILE', help='default: work_dirs/attention/<image>.png')
    add_model_arguments(parser)


def main(arguments: Namespace) -> None:
    if arguments.short_side < 1:
        raise BenchError(f'--short-side is {arguments.short_side}; it must be at least 1')
    out = arguments.out or Path('work_dirs/attention') / f'{arguments.image.stem}.png'
    if out.suffix not in ('.png', '.jpg', '.pdf', '.svg'):
        raise BenchError(f'--out {out}: the name must end in .png, .jpg, .pdf or .svg')

    from ..configuration import load_config, method_config, register
    from ..files import make_folder

    register()
    import torch

    from ..figures.attention import attention, draw_attention
    from ..figures.picture import build_members, picture_of_file

    make_folder('--out', out.parent)
    configs = {
        name: load_config(method_config(name), None, arguments.pretrained, arguments.precision, arguments.cfg_options)
        for name in arguments.method.split(',')
    }
    picture = picture_of_file(
        arguments.image, [dict(type='Resize', scale=(2048, arguments.short_side), keep_ratio=True)]
    )
    members = build_members(configs, torch.device('cuda' if torch.cuda.is_available() else 'cpu'))
    draw_attention(attention(picture, members, arguments.point)).savefig(out)
    print(out)
