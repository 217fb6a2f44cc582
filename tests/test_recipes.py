"""The list of recipes: whole, and quoted where data are missing."""

from __future__ import annotations

import pytest
from tiny import COMMAND, run_here

from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import load_config
from naclip_bench.data import recipes
from naclip_bench.errors import BenchError


def test_every_recipe_reads_benchmarks_and_says_where_its_archives_are():
    for recipe in recipes.RECIPES.values():
        assert recipe.benchmarks
        for source in recipe.sources:
            assert source.url.startswith('http') or source.page.startswith('https'), source.archive
            assert len(source.md5) in (0, 32)
            assert not source.listed or source.listed in source.files
    assert recipes.find_recipe('voc21') is recipes.RECIPES['voc']
    assert recipes.find_recipe('coco_stuff') is recipes.RECIPES['coco_stuff']


@pytest.mark.parametrize('benchmark', sorted({name for known in recipes.RECIPES.values() for name in known.benchmarks}))
def test_a_run_without_its_data_says_what_brings_them(benchmark, tmp_path):
    for root, option in ((None, ''), (str(tmp_path), f' --data-root {tmp_path}')):
        config = load_config(f'naclip_{benchmark}', root)
        assert benchmark in recipes.RECIPES[config.recipe].benchmarks
        config.test_dataloader.dataset.data_prefix.img_path = 'nowhere'
        with pytest.raises(BenchError, match=rf'; run: naclip-bench data prepare {config.recipe}{option}$'):
            build_dataset(config.test_dataloader.dataset)


def test_help_lists_the_datasets(capfd):
    outcome = run_here(capfd, ['--help'], COMMAND.with_name('prepare_data.py'))
    assert all(f'  {key} ' in outcome.stdout for key in recipes.RECIPES)
