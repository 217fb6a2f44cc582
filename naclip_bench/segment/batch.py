"""Many images into a folder: what is finished is left, what is broken is told at the end, the others are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from ..errors import BenchError
from ..evaluation.progress import progress_bar
from ..evaluation.record import RANDOM_WEIGHTS
from ..files import CannotWriteError, output_path
from ..json_files import write_json
from ..palette import colors_of_names
from ..parallel import LOG_EVERY
from .inputs import Picture
from .listing import Input, count_of, frames
from .manifest import Manifest
from .masks import Masks
from .outputs import coco, shares, write
from .outputs.html import Shown, write_gallery
from .result import Segmentation
from .running import segment_pictures
from .segmenter import BATCH, Segmenter

#: What can be saved: a folder of its own, and the suffix of its files. "csv" and "html" are one file for all.
FILES = {
    'png': ('labels', '.png'),
    'overlay': ('overlay', '.jpg'),
    'coco': ('coco', '.json'),
    'coco-polygons': ('coco-polygons', '.json'),
    'geojson': ('geojson', '.geojson'),
    'geotiff': ('geotiff', '.tif'),
    'npz': ('npz', '.npz'),
}
TABLES = ('csv', 'html')
FORMATS = (*FILES, *TABLES)

#: How many times smaller an image may be for the model before that is worth telling.
COARSE = 6

#: Pixels of images that are read ahead of the model.
TOGETHER = 2**24


def _silent(share: float) -> None:
    pass


def _advance(bar: Progress, task: TaskID, images: int, share: float) -> None:
    bar.advance(task, share * images)


@dataclass
class Done:
    """What became of a run.

    Attributes:
        made: images computed now.
        skipped: finished before.
        broken: a line each.
        coarse: an image that the model saw much smaller than it is, in words; None: there was none.
        entries: of the manifest, of all images that were asked for and are there, by method.
    """

    made: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)
    coarse: str | None = None
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class BatchRun:
    """Segment images into a folder.

    Args:
        segmenters: one a method; see :func:`segment_pictures`.
        out: the folder; with several methods each has a folder in it.
        formats: of :data:`FORMATS`.
        masks: to score against.
        every: of a video each so many-th frame.
        fresh: compute everything anew.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        out: Path,
        formats: Sequence[str],
        masks: Masks | None = None,
        every: int = 1,
        fresh: bool = False,
    ) -> None:
        self.segmenters = {str(segmenter.asked['method']): segmenter for segmenter in segmenters}
        self.settings = {method: segmenter.fingerprint for method, segmenter in self.segmenters.items()}
        self.out, self.masks, self.every, self.fresh = out, masks, every, fresh
        # The gallery shows overlays.
        self.formats = list(dict.fromkeys([*formats, *(['overlay'] if 'html' in formats else [])]))
        self.manifest = Manifest(out)

    def __call__(self, inputs: Sequence[Input]) -> Done:
        """Segment what is not finished, and write what stands for all images."""
        done = Done(entries={method: [] for method in self.segmenters})
        console = Console(stderr=True)
        total = sum(count_of(one, self.every) for one in inputs)
        with progress_bar(console) as bar:
            task = bar.add_task('images', total=total, speed='', score='')
            begin = last = time.perf_counter()
            for many, left in self._batches(inputs, done):
                before = done.made
                # Within images too: one may take minutes.
                self._segment(many, done, partial(_advance, bar, task, len(many)))
                speed = done.made / (time.perf_counter() - begin)
                number = done.made + done.skipped + len(done.broken)
                broken = f'{len(done.broken)} broken' if done.broken else ''
                bar.update(task, completed=number, total=max(total, number), speed=f'{speed:.1f}/s', score=broken)
                now = time.perf_counter()
                if not console.is_terminal and done.made > before and (now - last >= LOG_EVERY or not left):
                    last = now
                    console.print(
                        f'{number}/{total} images, {speed:.2f}/s {broken}'.rstrip(), highlight=False, markup=False
                    )
        self._write_tables(done)
        return done

    def _batches(self, inputs: Sequence[Input], done: Done) -> Iterator[tuple[list[tuple[Input, Picture]], bool]]:
        """Images that are not finished, read, a few at a time; and whether more may come."""
        batch: list[tuple[Input, Picture]] = []
        pixels = 0
        for given in inputs:
            try:
                for one in frames(given, self.every):
                    if self._is_finished(one, done):
                        done.skipped += 1
                        continue
                    try:
                        picture = one.read()
                    except BenchError as error:
                        done.broken.append(str(error))
                        continue
                    self._look_at_size(picture, done)
                    size = picture.size[0] * picture.size[1]
                    if batch and pixels + size > TOGETHER:
                        yield batch, True
                        batch, pixels = [], 0
                    batch.append((one, picture))
                    pixels += size
                    if len(batch) == BATCH:
                        yield batch, True
                        batch, pixels = [], 0
            except BenchError as error:
                done.broken.append(str(error))
        yield batch, False

    def _look_at_size(self, picture: Picture, done: Done) -> None:
        resized = next(iter(self.segmenters.values())).resized(picture.size)
        if done.coarse is None and 0 < COARSE * min(resized) < min(picture.size):
            whole, seen = (f'{width} x {height}' for height, width in (picture.size, resized))
            done.coarse = f'{picture.name} is {whole} pixels, and {seen} for the model'

    def _is_finished(self, one: Input, done: Done) -> bool:
        entries = {}
        for method in self.segmenters:
            entry = None if self.fresh else self.manifest.finished(one.name, method, self._wanted(one, method))
            if entry is None or not all(path.is_file() for path in self._paths(one.name, method).values()):
                return False
            entries[method] = entry
        for method, entry in entries.items():
            done.entries[method].append(entry)
        return True

    def _wanted(self, one: Input, method: str) -> dict[str, Any]:
        wanted = {'settings': self.settings[method], 'image': one.digest}
        if self.masks is not None:
            wanted |= {'masks': self.masks.digest, 'mask': _digest_of(self.masks, one.name)}
        return wanted

    def _folder(self, method: str) -> Path:
        return self.out / method.replace('/', '_') if len(self.segmenters) > 1 else self.out

    def _paths(self, name: str, method: str) -> dict[str, Path]:
        return {
            kind: output_path(self._folder(method) / FILES[kind][0], name, FILES[kind][1])
            for kind in self.formats
            if kind in FILES
        }

    def _segment(self, many: list[tuple[Input, Picture]], done: Done, tell: Callable[[float], None] = _silent) -> None:
        if not many:
            return
        segmenters, soft = list(self.segmenters.values()), 'npz' in self.formats
        try:
            results = segment_pictures(segmenters, [picture for _, picture in many], soft, tell)
        except BenchError as error:
            if len(many) == 1:
                done.broken.append(str(error))
                return
            # One of them it is; the others are done.
            for one in many:
                self._segment([one], done)
            return
        for place, (one, _picture) in enumerate(many):
            try:
                scores = {}
                for method, of in zip(self.segmenters, results, strict=True):
                    if self.masks is not None:
                        scores[method] = self.masks.cells(one.name, of[place].labels)
                for method, of in zip(self.segmenters, results, strict=True):
                    self._write(one, method, of[place], scores.get(method), done)
                done.made += 1
            except CannotWriteError:
                raise
            except BenchError as error:
                done.broken.append(str(error))

    def _write(self, one: Input, method: str, result: Segmentation, scores: list | None, done: Done) -> None:
        result.name = _file_name(one)
        for kind, path in self._paths(one.name, method).items():
            if kind == 'coco-polygons':
                write_json(path, coco.merged([coco.annotated(result, True)], result.names), indent=None)
            else:
                write(result, path)
        entry = {
            'name': one.name,
            'file': result.name,
            'method': method,
            **self._wanted(one, method),
            'areas': result.areas,
            'scores': scores,
        }
        self.manifest.add(entry)
        done.entries[method].append(entry)

    # ---- one file for all images

    def _write_tables(self, done: Done) -> None:
        every = [entry for entries in done.entries.values() for entry in entries]
        if 'csv' in self.formats:
            rows = [row for entry in every for row in shares.rows_of(entry['file'], entry['method'], entry['areas'])]
            shares.write_table(self.out / 'shares.csv', rows)
        for kind in ('coco', 'coco-polygons'):
            if kind in self.formats:
                for method, segmenter in self.segmenters.items():
                    files = [self._paths(entry['name'], method)[kind] for entry in done.entries[method]]
                    write_json(self._folder(method) / f'{kind}.json', coco.joined(files, segmenter.names), indent=None)
        if 'html' in self.formats:
            random = any(segmenter.member.backbone.random_weights for segmenter in self.segmenters.values())
            write_gallery(self.out / 'index.html', self._shown(done), [RANDOM_WEIGHTS] if random else [])

    def _shown(self, done: Done) -> list[Shown]:
        of_images: dict[str, Shown] = {}
        for method, entries in done.entries.items():
            colors = colors_of_names(self.segmenters[method].names)
            css = {
                name: f'#{bytes(color.tolist()).hex()}'
                for name, color in zip(self.segmenters[method].names, colors, strict=True)
            }
            for entry in entries:
                shown = of_images.setdefault(entry['name'], Shown(entry['file'], {}, {}))
                overlay = self._paths(entry['name'], method)['overlay'].relative_to(self.out)
                total = max(1, sum(entry['areas'].values()))
                found = [(name, 100 * pixels / total, css[name]) for name, pixels in entry['areas'].items() if pixels]
                shown.overlays[method] = overlay.as_posix()
                shown.shares[method] = sorted(found, key=lambda row: -row[1])
        return list(of_images.values())


def _file_name(one: Input) -> str:
    return str(one.path) if one.frame is None else f'{one.path}#{one.frame}'


def _digest_of(masks: Masks, name: str) -> str | None:
    try:
        return Input(masks.path_of(name), name).digest
    except BenchError:
        return None
