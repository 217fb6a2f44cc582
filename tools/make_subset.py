"""Pick images that stand for a dataset in regression checks.

python tools/make_subset.py voc21 50    writes data/subsets/voc21_50.txt
python tools/test.py naclip_voc21 --subset voc21_50
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import BenchError, CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('dataset', help='key of a dataset, or a config: voc21, my_config.py')
    add('count', type=int, metavar='N', help='how many images')
    add('--seed', type=int, default=0, help='of the draw (default: 0)')
    add('--list', type=Path, metavar='FILE', help='all images, one a line, where the data are not all there')
    add('--data-root', metavar='DIR', help='folder with the datasets (default: data)')
    add('--out', type=Path, metavar='FILE', help='default: data/subsets/<dataset>_<n>.txt')
    arguments = parser.parse_args()
    from naclip_bench.configuration import dataset_config, load_config, register

    register()
    from naclip_bench.bundled import SUBSETS
    from naclip_bench.checks.start import build_dataset
    from naclip_bench.datasets.check import image_names, is_drawn
    from naclip_bench.datasets.lists import read_names
    from naclip_bench.datasets.subset import short_names, shown_classes, subset_text
    from naclip_bench.files import written_beside
    from naclip_bench.vocabulary import Vocabulary

    config = load_config(dataset_config(arguments.dataset), arguments.data_root)
    settings, shown = config.test_dataloader.dataset, {}
    if arguments.list:
        suffix = settings.get('img_suffix', '.jpg')
        names = short_names(name.removesuffix(suffix) for name in read_names(arguments.list, '--list'))
    if not arguments.list or is_drawn(settings) or Path(settings.data_root).is_dir():
        dataset = build_dataset(settings)
        present = short_names(image_names(dataset))
        shown = dict(zip(present, shown_classes(dataset), strict=True))
        names = names if arguments.list else present
    classes = len(Vocabulary(config.model.class_names))
    text = subset_text(config.dataset, names, arguments.count, arguments.seed, shown, classes)
    path = arguments.out or SUBSETS / f'{config.dataset}_{arguments.count}.txt'
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


if __name__ == '__main__':
    run_command(main)
