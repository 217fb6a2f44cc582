"""Find the region maps of a dataset ahead of its runs.

What is there already is kept.

naclip-bench regions voc21 --helper sam2
naclip-bench regions voc21 --helper sam2 --set points=32 --limit 10
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .arguments import add_data_root, add_import

#: Helpers that find regions, by their names here.
FINDERS = {'sam2': 'SAM2', 'mask2former': 'Mask2Former'}


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add('dataset', metavar='DATASET', help='voc21, pc60, ... (see the list), or the path of a config')
    add('--helper', choices=FINDERS, default='sam2', help='what finds the regions')
    add('--set', nargs='+', default=[], metavar='KEY=VALUE', help='settings of the helper, as in model.regions')
    add('--limit', type=int, help='only so many images')
    add_data_root(parser)
    add_import(parser)


def main(arguments: Namespace) -> None:
    from pathlib import Path

    from ..configuration import dataset_config, load_config, parse_settings, register

    register()
    import torch

    from ..checks.start import build_dataset
    from ..datasets.check import image_names, select
    from ..errors import BenchError
    from ..helpers import build_helper
    from ..helpers.regions import read_rgb

    config = load_config(dataset_config(arguments.dataset), arguments.data_root)
    dataset = build_dataset(config.test_dataloader.dataset)
    indices = select(image_names(dataset), arguments.limit, None, dataset.img_suffix)
    settings = dict(type=FINDERS[arguments.helper], **parse_settings(arguments.set))
    helper = build_helper(settings, 'model.regions').to('cuda' if torch.cuda.is_available() else 'cpu')
    if not Path(dataset.get_data_info(0)['img_path']).is_file():
        raise BenchError(f'{arguments.dataset} has no files of images: its region maps are found in the run')
    for done, index in enumerate(indices, 1):
        path = dataset.get_data_info(index)['img_path']
        image = read_rgb(path)
        helper.of_image(image, tuple(image.shape[1:]), path)
        print(f'\r{done} of {len(indices)} region maps', end='', flush=True)
    print()
