"""Every table of the papers plans, every row of it runs, and what runs together equals what runs alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
from helper import with_tiny_helpers
from PIL import Image

from naclip_bench.configuration import load_config
from naclip_bench.datasets.check import is_drawn
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.opened import Pass
from naclip_bench.evaluation.run import run
from naclip_bench.evaluation.store import Store
from naclip_bench.tables.estimate import estimate
from naclip_bench.tables.plan import Options, Plan, make_plan
from naclip_bench.tables.tables import TABLES

#: Twelve blocks, as the papers count them, at the smallest width. All sizes are the papers', so patches are large.
SMALL = dict(
    embed_dim=16,
    quick_gelu=True,
    vision_cfg=dict(image_size=224, layers=12, width=32, head_width=16, patch_size=32),
    text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=1, layers=1),
)

#: Datasets whose masks have 16 bits.
LARGE = {'pc459', 'ade847'}

#: A paper's metric by its name in a result.
IN_RESULT = {'pAcc': 'aAcc'}


def random_weights_data(root: Path, benchmarks: Iterable[str]) -> None:
    """Two small images for every benchmark, in its own layout."""
    random = np.random.default_rng(0)
    for benchmark in benchmarks:
        dataset = load_config(f'naclip_{benchmark}', data_root=str(root)).test_dataloader.dataset
        if is_drawn(dataset):
            continue
        folder, city = Path(dataset.data_root), 'frankfurt/' if benchmark.startswith('cityscapes') else ''
        for name in ('one', 'two'):
            colors = random.integers(0, 256, (5, 8, 3), np.uint8).repeat(6, 0).repeat(6, 1)
            # Labels that every benchmark has, and a row that none scores.
            of = np.uint16 if benchmark in LARGE else np.uint8
            labels = random.integers(1, 19, (5, 8), of).repeat(6, 0).repeat(6, 1)
            labels[:2] = np.iinfo(of).max
            prefix = dataset.data_prefix
            for kind, suffix, pixels in (
                (prefix.img_path, dataset.img_suffix, colors),
                (prefix.seg_map_path, dataset.seg_map_suffix, labels),
            ):
                path = folder / kind / f'{city}{name}{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                # Benchmarks share folders; the images stay those of the first.
                if not path.exists():
                    Image.fromarray(pixels).save(path)
        if dataset.get('ann_file'):
            (folder / dataset.ann_file).parent.mkdir(parents=True, exist_ok=True)
            (folder / dataset.ann_file).write_text('one\ntwo\n')
    # COCO's two benchmarks have the same images in two folders.
    for name in ('one', 'two'):
        image = (root / 'coco_object' / 'images' / 'val2017' / f'{name}.jpg').read_bytes()
        (root / 'coco_stuff164k' / 'images' / 'val2017' / f'{name}.jpg').write_bytes(image)


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    folder = tmp_path_factory.mktemp('tables')
    benchmarks = {leaf.config.dataset for leaf in make_plan(list(TABLES.values()), Options()).leaves}
    random_weights_data(folder / 'data', sorted(benchmarks))
    arch = folder / 'small.json'
    arch.write_text(json.dumps(SMALL))
    # One prompt a word: text is most of the work at this size.
    changed = {'model.backbone.arch': str(arch), 'model.templates': 'photo', 'test_dataloader.num_workers': 0}
    return Options(data_root=str(folder / 'data'), pretrained='none', cfg_options=changed, limit=2)


@pytest.fixture(scope='module')
def plan(options: Options) -> Plan:
    """All tables, with small helpers in the place of SAM and DINOv2."""
    plan = make_plan(list(TABLES.values()), options)
    for leaf in plan.leaves:
        with_tiny_helpers(leaf.config.model)
    return plan


@pytest.mark.parametrize('key', TABLES)
def test_a_table_plans(key, options):
    table = TABLES[key]
    plan = make_plan([table], options)
    # Of cited systems in a table of ours their papers' means stand alone.
    cited = {(row.name, row.settings) for row in table.rows if row.cited}
    means = [mean for mean in table.averages().values() if not table.values() and (mean.row, mean.settings) in cited]
    assert Counter(cell.paper for cell in plan.cells if cell.paper) == Counter([*table.values(), *means])
    for row in table.rows:
        cells = [cell for cell in plan.cells if cell.row is row]
        assert cells, f'{row.name} ({row.settings}) has no value in the table, nor a config'
        if row.cited:
            assert not any(cell.leaves or cell.closed_form for cell in cells)
        else:
            assert all(cell.leaves or cell.closed_form is not None or row.lacks(cell.dataset) for cell in cells), row
    assert {leaf for cell in plan.cells for leaf in cell.leaves} == set(plan.leaves)


def test_the_tables_together_share_passes(plan, options):
    """A pass a group of images, size and pipeline: far fewer than leaves."""
    assert len({cell.table for cell in plan.cells}) == len(TABLES)
    assert len(plan.passes) < len(plan.leaves) / 10
    for pass_ in plan.passes:
        counted = estimate(pass_, options)
        assert counted.exact and counted.images == 2
        assert counted.trunks <= counted.windows <= counted.separate


@pytest.fixture(scope='module')
def results(plan: Plan, options: Options, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run(plan.passes, options.selection, Store(tmp_path_factory.mktemp('store')))


def test_every_row_runs(plan, results):
    assert set(results) == set(plan.leaves)
    for cell in plan.cells:
        for leaf in cell.leaves:
            record = results[leaf].record
            assert isfinite(record['metrics'][IN_RESULT.get(cell.metric, cell.metric)]), cell
            assert record['random_weights'] and record['images']['count'] == 2


def test_a_table_equals_separate_runs_bit_for_bit(options, results, tmp_path):
    plan = make_plan([TABLES['gclip/table1']], Options(**{**vars(options), 'datasets': ('voc20', 'cityscapes')}))
    together = {result.record['hashes']['run']: result for result in results.values()}
    assert len(plan.leaves) > 15
    for number, leaf in enumerate(plan.leaves):
        alone = run([Pass([leaf])], Selection(), Store(tmp_path / str(number)))[leaf]
        shared = together[alone.record['hashes']['run']]
        assert alone.record['metrics'] == shared.record['metrics']
        assert alone.record['per_class'] == shared.record['per_class']
        assert {name: cells.tolist() for name, cells in alone.cells.items()} == {
            name: cells.tolist() for name, cells in shared.cells.items()
        }
