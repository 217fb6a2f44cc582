"""How fast this machine converts and checks masks, with one core and with all it has."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from ..checks.dataset import check_dataset
from ..configuration import load_config
from ..console import print_whole
from ..data.coco import CATEGORIES, UNUSED_CATEGORIES, convert_coco_stuff
from ..data.pascal_context import convert_pascal_context
from ..errors import BenchError
from ..optional import needed

#: Images that are drawn; the others are copies, which take as long to read.
DRAWN = 40
WIDTH, HEIGHT, REGIONS = 640, 480, 24


def conversion_seconds(images: int, repeats: int) -> dict[str, list[tuple[int, float]]]:
    """Convert and check made-up images of 640 x 480, in the official formats of COCO-Stuff and Pascal Context.

    Returns:
        By what is timed: cores, and the median seconds with so many; one core first, then all.

    Raises:
        BenchError: nothing to do; a system that cannot be told to use one core; or scipy is not installed.
    """
    if not hasattr(os, 'sched_setaffinity'):
        raise BenchError('this measures with one core and with all, which only Linux can be told')
    if images < 1 or repeats < 1:
        raise BenchError(f'{images} images and {repeats} repeats; both must be at least 1')
    cores = sorted(os.sched_getaffinity(0))
    names, measured = [f'{index:06d}' for index in range(images)], {}
    with tempfile.TemporaryDirectory() as folder:
        _make_sources(Path(folder), names)
        try:
            for what, work in _works(Path(folder), names).items():
                seconds: list[tuple[int, list[float]]] = [(1, []), (len(cores), [])]
                for _ in range(repeats):
                    for count, taken in seconds:
                        os.sched_setaffinity(0, cores[:count])
                        with tempfile.TemporaryDirectory(dir=folder) as root:
                            begin = time.perf_counter()
                            work(Path(root))
                            taken.append(time.perf_counter() - begin)
                measured[what] = [(count, statistics.median(taken)) for count, taken in seconds]
        finally:
            os.sched_setaffinity(0, cores)
    return measured


def print_conversion(measured: dict[str, list[tuple[int, float]]], images: int) -> None:
    """A row for each that was timed, with the images a second that all cores reach."""
    rows = [(what, one, every, cores) for what, [(_, one), (cores, every)] in measured.items()]
    table = Table('', '1 core, s', f'{rows[0][3]} cores, s', 'times as fast', 'images/s')
    for what, one, every, _ in rows:
        table.add_row(what, f'{one:.1f}', f'{every:.1f}', f'{one / every:.2f}x', f'{images / every:.0f}')
    print_whole(Console(highlight=False), table)


def _make_sources(folder: Path, names: list[str]) -> None:
    """Smooth noise, and ellipses of COCO-Stuff's categories; Pascal Context's are the same labels, from 1."""
    savemat = needed('scipy.io', 'data', 'drawing annotations of Pascal Context').savemat
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


def _works(sources: Path, names: list[str]) -> dict[str, Callable[[Path], object]]:
    """What is timed, by its name; each is given a data root without its results."""

    def check(_: Path) -> None:
        report = check_dataset(load_config('naclip_coco_stuff', str(sources / 'checked')))
        if len(names) != report.contents.masks:
            raise BenchError('the check did not see every image')

    # What is checked is made once, and not timed.
    convert_coco_stuff(sources, sources / 'checked')
    return {
        'convert COCO-Stuff, PNG': lambda root: convert_coco_stuff(sources, root),
        'convert Pascal Context, .mat': lambda root: convert_pascal_context(sources, root, names),
        'check': check,
    }
