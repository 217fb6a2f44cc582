"""docs/papers.md names all that the papers compare with, and its commands are there."""

from __future__ import annotations

import re
import shlex

import pytest

from naclip_bench.bundled import CONFIGS
from naclip_bench.configuration import find_config
from naclip_bench.data.recipes import RECIPES
from naclip_bench.tables.papers import PAPERS
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.rows.building import CITED
from naclip_bench.tables.tables import TABLES, find_tables

PAGE = (CONFIGS.parent / 'docs' / 'papers.md').read_text()

COMMANDS = [shlex.split(found) for found in re.findall(r'naclip-bench ([^`\n]+)', PAGE)]

FIGURES = {'attention', 'correlation', 'clusters', 'norms', 'gaussian', 'curve', 'grid', 'radar', 'bars', 'sheet'}


@pytest.mark.parametrize('words', COMMANDS, ids=' '.join)
def test_a_command_of_the_page_names_what_there_is(words):
    command, *rest = words
    if command == 'test':
        find_config(rest[0])
    elif command == 'reproduce':
        names = rest[: rest.index('--rows')] if '--rows' in rest else [word for word in rest if word != '--dry-run']
        rows = tuple(rest[rest.index('--rows') + 1 :]) if '--rows' in rest else None
        assert make_plan(find_tables(names), Options(rows=rows)).cells
    elif command == 'data':
        assert rest[0] == 'prepare' and rest[1] in RECIPES
    else:
        assert command == 'learn' or (command == 'figure' and rest[0] in FIGURES)


def test_all_is_on_the_page():
    assert [name for name in CITED if not re.search(rf'\| ([^|]*, )?{re.escape(name)}[,| ]', PAGE)] == []
    assert [key for key in TABLES if key.split('/')[0] in PAPERS and key not in PAGE] == []
    assert {words[1] for words in COMMANDS if words[0] == 'figure'} == FIGURES
