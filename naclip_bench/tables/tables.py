"""Every table by its key, and tables that no paper has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..configuration import parse_settings
from ..errors import BenchError, did_you_mean
from .rows import cliptrase, frontier, gclip, materials, naclip, sclip, weights
from .spec import Row, TableSpec


def table_of_methods(methods: Sequence[str], datasets: Sequence[str]) -> TableSpec:
    """A table that no paper has: each of ``methods`` on each of ``datasets``, by their names."""
    rows = tuple(Row(method, config=f'{method}_{{dataset}}') for method in methods)
    return TableSpec('own/methods', 'methods that were asked for', rows, tuple(datasets), mean=len(datasets) > 1)


def with_rows(table: TableSpec, added: Sequence[Sequence[str]]) -> TableSpec:
    """Add rows to a table: each a method's name, and settings of it as ``KEY=VALUE``.

    with_rows(find_table('naclip/table1'), [['naclip', 'model.sigma=3']])
    """
    rows = tuple(
        Row(method, ' '.join(settings), f'{method}_{{dataset}}', parse_settings(settings))
        for method, *settings in added
    )
    return replace(table, rows=(*table.rows, *rows))


#: Where tables are.
MODULES = (naclip, sclip, cliptrase, gclip, materials, weights, frontier)

#: Every table by its key.
TABLES = {spec.key: spec for module in MODULES for spec in module.tables()}


def find_table(key: str) -> TableSpec:
    """The table ``naclip/table1``.

    Raises:
        BenchError: there is none; says what comes close.
    """
    if key not in TABLES:
        raise BenchError(f'there is no table {key}{did_you_mean(key, TABLES)}')
    return TABLES[key]


def find_tables(keys: Sequence[str]) -> list[TableSpec]:
    """The tables that ``keys`` name, each once; every one there is where one of them is ``all``."""
    if 'all' in keys:
        return list(TABLES.values())
    return list({key: find_table(key) for key in keys}.values())
