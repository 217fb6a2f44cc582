"""A report as terminal text, markdown, LaTeX, CSV and JSON, and its files; a plan as terminal text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..console import amount, duration, print_whole, screen
from ..files import written_beside
from ..timing import product_rate
from .compare import Comparison
from .estimate import Estimate, estimate
from .html import as_html
from .papers import MEAN, PAPERS, text
from .plan import Options, Plan
from .report import Block, Line, Number, Report

#: Version of the JSON report; raised whenever a key changes its meaning. Described in docs/reproduce.md.
SCHEMA = 1


@dataclass(frozen=True)
class PrintedLine:
    """A line of a printed table: ``texts`` and the ``marks`` behind each, by dataset and by remaining column."""

    label: str
    what: str
    texts: list[str]
    marks: list[str]


def printed(block: Block) -> list[list[PrintedLine]]:
    """The lines of each row: the paper's, ours and the difference; of a cited row the paper's alone."""
    return [_lines(block, line) for line in block.lines]


def _lines(block: Block, line: Line) -> list[PrintedLine]:
    numbers = [line.numbers.get(dataset, Number(None, None, block.digits)) for dataset in block.datasets]
    nothing = [''] * len(block.columns)
    paper = [number.paper_text for number in numbers] + [line.remaining.get(column, '-') for column in block.remaining]
    if line.row.cited:
        return [PrintedLine(line.label, 'cited', paper, nothing)]
    blank = [''] * len(block.remaining)
    counted = [line.counted.get(column, '') for column in block.remaining]
    marks = [number.marks if number.ours is not None else '' for number in numbers]
    values = [text(number.ours, block.digits) for number in numbers]
    ours = f'ours ({line.protocol})' if line.protocol else 'ours'
    if all(number.paper is None for number in numbers):
        remaining = [line.counted.get(column, line.remaining.get(column, '')) for column in block.remaining]
        return [PrintedLine(line.label, ours, values + remaining, marks + blank)]
    differences = [text(number.difference, block.digits, '+') for number in numbers]
    both = zip(marks, numbers, strict=True)
    of_differences = [mark if number.difference is not None else '' for mark, number in both]
    return [
        PrintedLine(line.label, 'paper', paper, nothing),
        PrintedLine('', ours, values + counted, marks + blank),
        PrintedLine('', 'difference', differences + blank, of_differences + blank),
    ]


def print_plan(plan: Plan, options: Options) -> None:
    """Print what a plan would compute: passes over the images, trunk passes, windows; and what rows stand for."""
    console = screen()
    runs = [cell for cell in plan.cells if cell.leaves]
    cited = sum(bool(cell.row.cited) for cell in plan.cells)
    formulas = sum(cell.closed_form is not None for cell in plan.cells)
    later = sum(cell.row.lacks(cell.dataset) is not None for cell in plan.cells)
    names = ('image pass', 'leaves', 'images', 'trunk passes', 'windows', 'each leaf alone')
    table = Table(names[0], *(Column(name, justify='right') for name in names[1:]))
    estimates = [estimate(pass_, options) for pass_ in plan.passes]
    for pass_, of in zip(plan.passes, estimates, strict=True):
        about = '' if of.exact else '~'
        counts = (f'{about}{count:,}' for count in (of.images, of.trunks, of.windows, of.separate))
        table.add_row(pass_.title, str(len(pass_.leaves)), *counts)
    if estimates:
        print_whole(console, table)
    console.print(
        f'{len(plan.cells)} cells: {len(runs)} to run, as {len(plan.leaves)} leaves in {len(plan.passes)} image '
        f'passes; {formulas} by a formula; {cited} cited; {later} once another command has run (below)'
    )
    windows, separate = (sum(getattr(of, name) for of in estimates) for name in ('windows', 'separate'))
    if windows:
        console.print(
            f'{windows:,} windows through the trunk; {separate:,} were each leaf run alone ({separate / windows:.1f}x)'
        )
    if not all(of.exact for of in estimates):
        console.print('~ no images there: as many as the benchmark has, each 500 x 375')
    for key, spec in plan.tables.items():
        rows = list(dict.fromkeys(cell.row for cell in plan.cells if cell.table == key))
        metrics = dict.fromkeys(metric for _, metric in spec.columns())
        for note in spec.notes(rows) + [note for metric in metrics for note in spec.wrong_averages(rows, metric)]:
            console.print(f'{key}: {note}', markup=False)
    if estimates:
        _print_cost(console, estimates)


#: What of a matrix product's rate the vision tower reaches end to end; see docs/performance.md.
REACHED = {'cpu': 0.8, 'cuda': 0.45}


def _print_cost(console: Console, estimates: Sequence[Estimate]) -> None:
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    side = 2048 if device.type == 'cpu' else 8192
    rate = product_rate(side, side, side, torch.float32, device)
    flops = sum(of.flops for of in estimates)
    console.print(
        f'about {duration(flops / rate / REACHED[device.type])} here in fp32, one process: {flops / 1e12:,.1f} TFLOP '
        f'at {rate / 1e9:,.0f} GFLOP/s, measured now; refinement and what methods add come on top, up to as much again'
    )
    if kept := sum(of.kept for of in estimates):
        console.print(f'--keep-trunk takes about {amount(kept)} on the disk')
    weights = dict(of.weights for of in estimates)
    shown = ', '.join(f'{name} ({amount(size)})' for name, size in weights.items() if size)
    memory = amount(max(weights.values()) + 0.5e9)
    console.print(f'memory about {memory}; weights to download unless they are in the cache: {shown or "none"}')


def print_report(report: Report) -> None:
    console = screen()
    for block in report.blocks:
        columns = (Column(name, justify='right', no_wrap=True) for name in block.columns)
        table = Table('', '', *columns, title=block.title, title_justify='left', box=box.SIMPLE_HEAD)
        for lines in printed(block):
            for line in lines:
                values = (f'{value} {marks}'.strip() for value, marks in zip(line.texts, line.marks, strict=True))
                table.add_row(Text(line.label), line.what, *values, end_section=line is lines[-1])
        print_whole(console, table)
        for note in block.notes():
            console.print(note, markup=False)
    for comparison in report.comparisons:
        console.print()
        for line in _comparison_lines(report, comparison):
            console.print(line, markup=False)
    if report.marks():
        console.print('\n[bold red]NOT THE BENCHMARK[/bold red]')
        for mark, meaning in report.marks().items():
            console.print(f'[bold red]{mark}[/bold red] {meaning}')


def _comparison_lines(report: Report, comparison: Comparison) -> list[str]:
    first, second = comparison.rows
    marks = report.marks_of(comparison)
    lines = [f'{comparison.dataset}: {first} against {second}: {comparison.verdict}{f" {marks}" if marks else ""}']
    lines += [
        f'  {image.name}: {image.first:.1f} and {image.second:.1f} ({image.difference:+.1f}); '
        f'{image.class_name} {image.share:+.1f} % of the image'
        for image in comparison.images
    ]
    return lines


def as_markdown(report: Report) -> str:
    escape = _escaper({character: f'\\{character}' for character in '\\|<>*_#[]~`'})

    def value(number: str, marks: str) -> str:
        return escape(number) + (f'<sup>{marks}</sup>' if marks else '')

    parts = []
    for block in report.blocks:
        rows = [['', '', *block.columns], ['---', '---', *['---:'] * len(block.columns)]]
        rows += _rows(block, escape, value)
        parts += [f'## {block.title}', '\n'.join(f'| {" | ".join(row)} |' for row in rows), *map(escape, block.notes())]
    for comparison in report.comparisons:
        first, *images = _comparison_lines(report, comparison)
        parts += [escape(first), '\n'.join(f'- {escape(line.strip())}' for line in images)]
    if report.marks():
        legend = '\n'.join(f'- {letter}: {meaning}' for letter, meaning in report.marks().items())
        parts += ['**Not the benchmark:**', legend]
    return '\n\n'.join(parts) + '\n'


#: What stands for a character in LaTeX's text.
LATEX = {character: f'\\{character}' for character in '&%$#_{}'} | {
    '\\': r'\textbackslash{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
}


def as_latex(report: Report) -> str:
    """Tables for ``\\usepackage{booktabs}``."""
    escape = _escaper(LATEX)

    def value(number: str, marks: str) -> str:
        # A minus is one in mathematics alone; else it is a hyphen.
        number = f'${number}$' if number[:1] in ('+', '-') and len(number) > 1 else escape(number)
        return number + (rf'\textsuperscript{{{marks}}}' if marks else '')

    legend = [f'{letter}: {meaning}.' for letter, meaning in report.marks().items()]
    parts = []
    for block in report.blocks:
        rows = [' & '.join(row) + r' \\' for row in _rows(block, escape, value)]
        notes = escape(' '.join([*block.notes(), *(['Not the benchmark.', *legend] if legend else [])]))
        head = ' & '.join(['', '', *map(escape, block.columns)]) + r' \\'
        parts.append(
            '\n'.join(
                [
                    r'\begin{table}',
                    rf'\caption{{{escape(block.title)}. {notes}}}',
                    rf'\begin{{tabular}}{{ll{"r" * len(block.columns)}}}',
                    r'\toprule',
                    head,
                    r'\midrule',
                    *rows,
                    r'\bottomrule',
                    r'\end{tabular}',
                    r'\end{table}',
                ]
            )
        )
    return '\n\n'.join(parts) + '\n'


def _rows(block: Block, escape: Callable[[str], str], value: Callable[[str, str], str]) -> list[list[str]]:
    return [
        [escape(line.label), line.what, *map(value, line.texts, line.marks)]
        for lines in printed(block)
        for line in lines
    ]


def _escaper(stands_for: dict[str, str]) -> Callable[[str], str]:
    return lambda value: ''.join(stands_for.get(character, character) for character in value)


def entries(report: Report) -> list[dict]:
    """Every cell of a report, the means left out; see docs/reproduce.md."""
    found = []
    for block in report.blocks:
        for line in block.lines:
            for dataset, number in line.numbers.items():
                if dataset != MEAN:
                    found.append(_entry(block, line, number))
    return found


def _entry(block: Block, line: Line, number: Number) -> dict:
    record = number.result.record if number.result else {}
    how = 'cited' if line.row.cited else 'run' if record else 'formula' if number.ours is not None else 'not run'
    return {
        'table': block.spec.key,
        'row': line.row.name,
        'settings': line.row.settings,
        'remark': line.row.remark,
        'dataset': number.cell.dataset,
        'refine': number.cell.refine,
        'metric': block.metric,
        'paper': number.paper_text if number.paper is not None else None,
        'remaining': _remaining(block, line),
        'counted': line.counted,
        'ours': number.ours,
        'difference': number.difference,
        'low': number.interval[0] if number.interval else None,
        'high': number.interval[1] if number.interval else None,
        'marks': number.marks,
        'how': how,
        'protocol': record.get('protocol'),
        'images': record['images']['count'] if record else None,
        'official_images': record['images']['official'] if record else None,
        'config': number.cell.leaves[0].name if record else None,
        'overrides': record.get('overrides'),
        'trials': 1 + len(number.others) if record else None,
        'run': record['hashes']['run'] if record else None,
        'weights': record['hashes']['weights'] if record else None,
    }


def _remaining(block: Block, line: Line) -> dict[str, str]:
    """What the paper prints of a row besides the values of datasets, by column, its average among them."""
    average = block.spec.averages().get((line.row.name, line.row.settings, block.metric))
    return ({MEAN: text(average.value, average.digits)} if average else {}) | line.remaining


def as_csv(report: Report) -> str:
    """One line a cell."""
    rows = [
        {**entry, **{name: _in_words(entry[name]) for name in ('remaining', 'counted', 'overrides')}}
        for entry in entries(report)
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _in_words(settings: dict[str, object] | None) -> str:
    return ' '.join(f'{key}={value}' for key, value in (settings or {}).items())


def as_json(report: Report) -> dict:
    papers = dict.fromkeys(block.spec.key.split('/')[0] for block in report.blocks)
    return {
        'schema': SCHEMA,
        'date': report.date,
        'papers': {paper: PAPERS[paper] for paper in papers if paper in PAPERS},
        'marks': report.marks(),
        'cells': [
            {**entry, 'paper': None if entry['paper'] is None else float(entry['paper'])} for entry in entries(report)
        ],
        'comparisons': [
            {
                'dataset': each.dataset,
                'rows': each.rows,
                'marks': report.marks_of(each),
                'images_compared': each.count,
                'difference': each.test.difference,
                'low': each.test.interval[0] if each.test.interval else None,
                'high': each.test.interval[1] if each.test.interval else None,
                'p': each.test.p,
                'images': [
                    {
                        'image': image.name,
                        'first': image.first,
                        'second': image.second,
                        'class': image.class_name,
                        'share': image.share,
                    }
                    for image in each.images
                ],
            }
            for each in report.comparisons
        ],
    }


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``table`` in every format; the files."""
    contents = {
        'md': as_markdown(report),
        'tex': as_latex(report),
        'csv': as_csv(report),
        'json': json.dumps(as_json(report), indent=2, allow_nan=False) + '\n',
        'html': as_html(report),
    }
    paths = {folder / f'table.{suffix}': content for suffix, content in contents.items()}
    for path, content in paths.items():
        with written_beside(path) as temporary:
            temporary.write_text(content, encoding='utf-8')
    return list(paths)
