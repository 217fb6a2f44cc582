"""Pick images that stand for a dataset in regression checks.

naclip-bench data subset voc21 50    writes data/subsets/voc21_50.txt
naclip-bench test naclip_voc21 --subset voc21_50
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_data_root, add_import


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('dataset', help='key of a dataset, or a config: voc21, my_config.py')
    add('count', type=int, metavar='N', help='how many images')
    add('--seed', type=int, default=0, help='of the draw (default: 0)')
    add('--list', type=Path, metavar='FILE', help='all images, one a line, where the data are not all there')
    add_data_root(parser)
    add('--out', type=Path, metavar='FILE', help='default: <dataset>_<n>.txt, in data/subsets of a checkout')
    add_import(parser)


def main(arguments: Namespace) -> None:
    from ..configuration import dataset_config, load_config, register

    register()
    from ..bundled import INSTALLED, SUBSETS
    from ..checks.start import build_dataset
    from ..datasets.check import image_names, is_drawn
    from ..datasets.lists import read_names
    from ..datasets.subset import short_names, shown_classes, subset_text
    from ..files import written_beside
    from ..vocabulary import Vocabulary

    config = load_config(dataset_config(arguments.dataset), arguments.data_root)
    settings, shown = config.test_dataloader.dataset, {}
    if arguments.list:
        suffix = settings.get('img_suffix', '.jpg')
        names = short_names(name.removesuffix(suffix) for name in read_names(arguments.list))
    if not arguments.list or is_drawn(settings) or Path(settings.data_root).is_dir():
        dataset = build_dataset(settings)
        present = short_names(image_names(dataset))
        shown = dict(zip(present, shown_classes(dataset), strict=True))
        names = names if arguments.list else present
    classes = len(Vocabulary(config.model.class_names))
    text = subset_text(config.dataset, names, arguments.count, arguments.seed, shown, classes)
    path = arguments.out or (Path() if INSTALLED else SUBSETS) / f'{config.dataset}_{arguments.count}.txt'
    try:
        if path.exists():
            if path.read_text(encoding='utf-8') != text:
                raise BenchError(f'{path} holds another subset; delete it, or name another file with --out')
        else:
            with written_beside(path) as temporary:
                temporary.write_text(text, encoding='utf-8')
    except OSError as error:
        raise BenchError(f'--out: cannot write {path}: {error.strerror}') from None
    print(f'{path}\n{text.splitlines()[0].removeprefix("# ")}')
