"""How fast this machine converts and checks masks, with one core and with all it has.

python tools/benchmark_data.py --images 5000

Images and annotations are made up: 640 x 480, in the official formats of COCO-Stuff (PNG) and Pascal Context (.mat).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import BenchError, CommandParser, run_command

#: Images that are drawn; the others are copies, which take as long to read.
DRAWN = 40
WIDTH, HEIGHT, REGIONS = 640, 480, 24


def make_sources(folder: Path, names: list[str]) -> None:
    """Smooth noise, and ellipses of COCO-Stuff's categories; Pascal Context's are the same labels, from 1."""
    import numpy as np
    from PIL import Image, ImageDraw
    from scipy.io import savemat

    from naclip_bench.data.coco import CATEGORIES, UNUSED_CATEGORIES

    random = np.random.default_rng(0)
    used = [label for label in range(CATEGORIES) if label + 1 not in UNUSED_CATEGORIES]
    suffixes = {'images/val2017': '.jpg', 'maps/val2017': '.png', 'trainval': '.mat', 'JPEGImages': '.jpg'}
    for made in suffixes:
        (folder / made).mkdir(parents=True)
    for index, name in enumerate(names):
        files = [folder / made / f'{name}{suffix}' for made, suffix in suffixes.items()]
        if index >= DRAWN:
            for path in files:
                shutil.copyfile(path.with_stem(names[index % DRAWN]), path)
            continue
        noise = Image.fromarray(random.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8))
        labels = Image.new('L', (WIDTH, HEIGHT), 255)
        for label in random.choice(used, REGIONS):
            left, top = random.integers(-80, (WIDTH, HEIGHT))
            across, down = random.integers(20, 300, 2)
            ImageDraw.Draw(labels).ellipse((left, top, left + across, top + down), int(label))
        noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(files[0], quality=85)
        shutil.copyfile(files[0], files[3])
        labels.save(files[1])
        savemat(files[2], {'LabelMap': np.array(labels).astype(np.uint16) + 1}, do_compression=True)


def works(sources: Path, names: list[str]) -> dict[str, Callable[[Path], object]]:
    """What is timed, by its name; each is given a data root without its results."""
    from naclip_bench.configuration import load_config
    from naclip_bench.data.check.dataset import verify
    from naclip_bench.data.coco import convert_coco_stuff
    from naclip_bench.data.pascal_context import convert_pascal_context

    def check(_: Path) -> None:
        report = verify(load_config('naclip_coco_stuff', str(sources / 'checked')))
        if len(names) != report.contents.masks:
            raise BenchError('the check did not see every image')

    # What is checked is made once, and not timed.
    convert_coco_stuff(sources, sources / 'checked')
    return {
        'convert COCO-Stuff, PNG': lambda root: convert_coco_stuff(sources, root),
        'convert Pascal Context, .mat': lambda root: convert_pascal_context(sources, root, names),
        'check': check,
    }


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=1000, help='(default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='medians of so many (default: %(default)s)')
    arguments = parser.parse_args()
    if not hasattr(os, 'sched_setaffinity'):
        raise BenchError('this measures with one core and with all, which only Linux can be told')
    if arguments.images < 1 or arguments.repeats < 1:
        raise BenchError('--images and --repeats must be at least 1')

    from rich.console import Console
    from rich.table import Table

    from naclip_bench.configuration import register
    from naclip_bench.console import print_whole

    register()
    cores = sorted(os.sched_getaffinity(0))
    names = [f'{index:06d}' for index in range(arguments.images)]
    table = Table('', '1 core, s', f'{len(cores)} cores, s', 'times as fast', 'images/s')
    with tempfile.TemporaryDirectory() as folder:
        make_sources(Path(folder), names)
        for what, work in works(Path(folder), names).items():
            seconds: list[tuple[int, list[float]]] = [(1, []), (len(cores), [])]
            for _ in range(arguments.repeats):
                for count, taken in seconds:
                    os.sched_setaffinity(0, cores[:count])
                    with tempfile.TemporaryDirectory(dir=folder) as root:
                        begin = time.perf_counter()
                        work(Path(root))
                        taken.append(time.perf_counter() - begin)
            one, every = (statistics.median(taken) for _, taken in seconds)
            table.add_row(what, f'{one:.1f}', f'{every:.1f}', f'{one / every:.2f}x', f'{len(names) / every:.0f}')
    os.sched_setaffinity(0, cores)
    print_whole(Console(highlight=False), table)


if __name__ == '__main__':
    run_command(main)
