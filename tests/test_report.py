"""The papers' tables beside ours: every value where the paper has it, in every format; what is marked."""

import csv
import io
import json
import re
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyBench

from naclip_bench.catalog import catalog
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.run import Result
from naclip_bench.tables import formats, papers
from naclip_bench.tables.compare import compare, find_rows
from naclip_bench.tables.formats import as_csv, as_json, as_latex, as_markdown, print_plan, print_report
from naclip_bench.tables.html import as_html
from naclip_bench.tables.plan import Options, make_plan
from naclip_bench.tables.report import MEAN, make_report
from naclip_bench.tables.tables import TABLES, find_table, find_tables

#: papers.csv as it is written, read without the code that is tested; what is of a dataset, the averages, the rest.
LINES = list(csv.DictReader(Path(papers.__file__).with_name('papers.csv').open(newline='')))
PRINTED = [line for line in LINES if line['dataset'] not in ('', 'mean')]
AVERAGES = {
    (f'{line["paper"]}/{line["table"]}', line['row'], line['settings'], line['metric']): line['value']
    for line in LINES
    if line['dataset'] == 'mean'
}
REMAINING = [line for line in LINES if not line['dataset']]


def fake_result(leaf, index=0, count=3, **record):
    """A result as a run leaves it, of ``count`` images of three classes."""
    random = np.random.default_rng(index)
    cells = {f'p{image}': np.array([[0, 0, 40], [1, 1, random.integers(1, 50)], [1, 2, 9]]) for image in range(count)}
    metrics = {'mIoU': 30 + index % 50 + 1 / 3, 'aAcc': 60.0, 'mAcc': 50.0, 'fwIoU': None}
    settings = dict(arch='ViT-B-16-quickgelu', weights='openai', precision='fp32')
    return Result(
        {
            'date': '2025-01-01T00:00:00+00:00',
            'protocol': leaf.config.protocol,
            'overrides': {},
            'random_weights': False,
            'images': {'count': leaf.config.images, 'official': leaf.config.images},
            'metrics': metrics,
            'per_class': [{'class': f'<{name}>', 'IoU': iou} for name, iou in (('a', 100.0), ('b', 55.5), ('c', None))],
            'settings': settings,
            'hashes': {'run': f'{index:064}', 'weights': '0' * 64},
            'device': {'name': 'a device'},
            **record,
        },
        cells,
    )


def report_of(*tables, options=None, same=False, **record):
    """A report whose leaves have random results, all the ``same`` where what they are does not matter."""
    options = options or Options()
    tables = find_tables(tables)
    plan = make_plan(tables, options)
    results = {leaf: fake_result(leaf, 0 if same else index, **record) for index, leaf in enumerate(plan.leaves)}
    return make_report(plan, results, tables, options)


@pytest.fixture(scope='module')
def everything():
    return report_of('all', same=True)


def expected_tables():
    """By table and metric: the label of each printed row, its values as printed, the mean, and remaining columns."""
    tables = defaultdict(list)
    for entry in PRINTED:
        tables[f'{entry["paper"]}/{entry["table"]}', entry['metric']].append(entry)
    found = {}
    for (table, metric), entries in tables.items():
        whole = [entry for (of, _), them in tables.items() if of == table for entry in them]
        alike = len({entry['settings'] for entry in whole}) == 1
        datasets = list(dict.fromkeys(entry['dataset'] for entry in entries))
        rows, named = defaultdict(dict), {}
        remaining = [entry for entry in REMAINING if f'{entry["paper"]}/{entry["table"]}' == table]
        columns = dict.fromkeys(entry['metric'] for entry in remaining)
        texts = {(entry['row'], entry['settings'], entry['metric']): entry['value'] for entry in remaining}
        for entry in entries:
            settings = '' if alike else ' ' + re.sub('; *', ', ', entry['settings'])
            rows[entry['row'] + settings][entry['dataset']] = entry['value']
            named[entry['row'] + settings] = entry['row'], entry['settings']
        digits = max(len(entry['value'].partition('.')[2]) for entry in entries)
        lines = {}
        for label, values in rows.items():
            mean = sum(map(Decimal, values.values())) / len(datasets)
            mean = mean.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
            line = [values.get(dataset, '-') for dataset in datasets]
            computed = str(mean) if '-' not in line else '-'
            line += [AVERAGES.get((table, *named[label], metric), computed)] if len(datasets) > 1 else []
            lines[label] = line + [texts.get((*named[label], column), '-') for column in columns]
        found[table, metric] = lines
    return found


def lines_of_text(output):
    """Cells of each line of a terminal's table; a title begins the next table."""
    tables, key = defaultdict(dict), None
    for line in output.splitlines():
        title = re.fullmatch(r'(\w+/\w+): .*\((\w+)\) *', line)
        key = title.groups() if title else key
        label, *cells = re.split(r'\s{2,}', line.strip())
        if cells and cells[0] in ('paper', 'cited'):
            tables[key][label] = cells[1:]
    return tables


def lines_of_markdown(output):
    tables, key = defaultdict(dict), None
    for line in output.splitlines():
        title = re.fullmatch(r'## (\w+/\w+): .*\((\w+)\)', line)
        key = title.groups() if title else key
        cells = [re.sub(r'\\(.)', r'\1', cell) for cell in line.strip('| ').split(' | ')]
        if len(cells) > 2 and cells[1] in ('paper', 'cited'):
            tables[key][cells[0]] = cells[2:]
    return tables


def lines_of_latex(output):
    names = {r'\textless{}': '<', r'\textgreater{}': '>', r'\textasciitilde{}': '~', r'\_': '_', r'\#': '#'}
    tables, key = defaultdict(dict), None
    for line in output.splitlines():
        title = re.match(r'\\caption\{(\w+/\w+): .*?\((\w+)\)\. ', line)
        key = title.groups() if title else key
        cells = line.removesuffix(r' \\').split(' & ')
        if len(cells) > 2 and cells[1] in ('paper', 'cited'):
            for written, meant in names.items():
                cells = [cell.replace(written, meant) for cell in cells]
            tables[key][cells[0]] = cells[2:]
    return tables


class Page(HTMLParser):
    """What a reader of the page sees of the papers' values, and every address that the page refers to."""

    VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}

    def __init__(self, page):
        super().__init__()
        self.open, self.tables, self.addresses, self.texts = [], defaultdict(dict), [], defaultdict(list)
        self.key, self.label, self.row = None, '', None
        self.feed(page)
        self.close()
        assert not self.open, f'not closed: {self.open}'

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [attributes[name] for name in ('src', 'href', 'srcset', 'action') if name in attributes]
        if tag == 'table':
            self.key = attributes.get('data-table'), attributes.get('data-metric')
        if tag == 'tr':
            self.label, self.row = [], []
        if tag == 'td' and self.row is not None:
            self.row.append('-')
        if tag not in self.VOID:
            self.open.append((tag, attributes.get('class')))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag
        if tag == 'tr' and self.key[0] and self.row:
            self.tables[self.key][' '.join(self.label)] = self.row
        if tag == 'table':
            self.key = (None, None)

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        self.texts[tags[-1] if tags else None].append(data.strip())
        if self.open and self.open[-1] == ('span', 'paper'):
            self.row[-1] = data
        if 'th' in tags and 'tbody' in tags and ('small', 'cited') not in self.open and data.strip():
            text = re.sub(r'(, )?(common|official) protocol$', '', data.strip())
            self.label += [text] if text else []


def lines_of_html(output):
    return Page(output).tables


@pytest.mark.parametrize('form', ['text', 'markdown', 'latex', 'html'])
def test_paper_columns_equal_the_papers_values(everything, form, capsys):
    if form == 'text':
        print_report(everything)
        found = lines_of_text(capsys.readouterr().out)
    else:
        write = dict(markdown=as_markdown, latex=as_latex, html=as_html)[form]
        found = globals()[f'lines_of_{form}'](write(everything))
    expected = expected_tables()
    assert len(PRINTED) == 951
    for key, rows in expected.items():
        # A page leaves out the cells in which a row has nothing.
        assert {label: found[key].get(label) for label in rows} == rows, key
    ours = {(table, 'mIoU') for table in ('naclip/sigma', 'materials/methods', 'weights/table1', 'frontier/table1')}
    assert set(found) <= {*expected, *ours}


def test_csv_and_json_hold_every_value(everything):
    keys = ('row', 'settings', 'dataset', 'metric')
    expected = {(f'{e["paper"]}/{e["table"]}', *(e[key] for key in keys)): e['value'] for e in PRINTED}
    rows = list(csv.DictReader(io.StringIO(as_csv(everything))))
    assert {(e['table'], *(e[key] for key in keys)): e['paper'] for e in rows if e['paper']} == expected
    cells = json.loads(json.dumps(as_json(everything), allow_nan=False))['cells']
    found = {(e['table'], *(e[key] for key in keys)): e['paper'] for e in cells if e['paper'] is not None}
    assert found == {key: float(value) for key, value in expected.items()}
    assert (
        len(cells)
        == len(rows)
        == sum(len(line.numbers) - (MEAN in line.numbers) for b in everything.blocks for line in b.lines)
    )


def test_means_are_those_that_the_papers_print(everything):
    """NACLIP's Table 1, the column Avg."""
    block = next(block for block in everything.blocks if block.spec.key == 'naclip/table1')
    means = {line.label: line.numbers[MEAN].paper_text for line in block.lines}
    assert [means[f'{row} post=none'] for row in ('CLIP', 'MaskCLIP', 'SCLIP', 'NACLIP')] == [
        '13.6',
        '30.3',
        '38.2',
        '39.4',
    ]
    assert (means['NACLIP post=pamr'], means['CLIP Surgery post=none']) == ('42.5', '-')
    part = report_of('naclip/table1', options=Options(datasets=('voc21', 'pc60')), same=True)
    assert part.blocks[0].datasets == ['voc21', 'pc60'], "a mean over some datasets could be taken for the paper's"


def marks_of(options, **record):
    report = report_of('naclip/table4', options=options, **record)
    return {number.marks for line in report.blocks[0].lines for number in line.numbers.values()}


def test_what_is_not_the_benchmark_is_marked():
    voc21 = Options(datasets=('voc21',))
    few = {'images': {'count': 4, 'official': 1449}}
    half = {'settings': dict(arch='a', weights='b', precision='bf16')}
    assert marks_of(voc21) == {''}
    assert marks_of(voc21, random_weights=True) == {'W'}
    assert marks_of(Options(datasets=('voc21',), pretrained='none'), random_weights=True) == {'W'}
    assert marks_of(voc21, **few) == {'S'}
    assert marks_of(voc21, **half) == {'P'}
    assert marks_of(voc21, random_weights=True, **few, **half) == {'WSP'}
    for options, mark in (
        (dict(pretrained='some/file.pt'), 'C'),
        (dict(pretrained='openai'), ''),
        (dict(cfg_options={'model.sigma': 3}), 'C'),
        (dict(cfg_options={'test_dataloader.num_workers': 0, 'model.window_batch': 8}), ''),
    ):
        assert marks_of(Options(datasets=('voc21',), **options)) == {mark}


def test_a_mark_stands_behind_every_number_of_its_own_in_every_format(capsys):
    """Behind four values and their four differences."""
    report = report_of('naclip/table4', options=Options(datasets=('voc21', 'ade20k')), random_weights=True)
    assert report.marks() == {'W': 'random weights: the number means nothing'}
    print_report(report)
    written = capsys.readouterr().out
    assert len(re.findall(r'\d\.\d W\b', written)) == 8 and 'NOT THE BENCHMARK' in written
    assert len(re.findall(r'\d\.\d<sup>W</sup> ', as_markdown(report))) == 8
    assert len(re.findall(r'\d\.\d\$?\\textsuperscript\{W\}', as_latex(report))) == 8
    page = as_html(report)
    assert len(re.findall(r'<b>\d+\.\d</b><sup [^>]*>W</sup>', page)) == 4 and 'Not the benchmark.' in page
    assert len(re.findall(r'difference [+-]\d+\.\d<sup [^>]*>W</sup>', page)) == 4
    assert [entry['marks'] for entry in formats.entries(report)] == ['W'] * 4
    assert (
        'benchmark'
        not in as_markdown(report_of('naclip/table4', options=Options(datasets=('voc21',)))).split('\n', 1)[1]
    )


def test_our_values_have_the_papers_digits_and_the_difference_is_ours_less_the_papers():
    report = report_of('naclip/table4', 'cliptrase/table5', options=Options(datasets=('ade20k',)))
    number = report.blocks[0].lines[0].numbers['ade20k']
    assert number.ours == number.result.record['metrics']['mIoU'] == 30 + 1 / 3
    assert number.difference == number.ours - number.paper
    lines = formats.printed(report.blocks[0])[0]
    assert [line.texts for line in lines] == [['3.2'], ['30.3'], ['+27.1']]
    # The fourth leaf of all.
    assert [line.texts for line in formats.printed(report.blocks[1])[1]][1] == ['33.33']


def test_pixel_accuracy_and_what_does_not_exist():
    """The papers' pAcc is our aAcc; a metric that is NaN, null in a record, is shown as no value."""
    report = report_of('cliptrase/table6', options=Options(datasets=('voc21',), rows=('CLIPtrase',)))
    values = {block.metric: block.lines[0].numbers['voc21'] for block in report.blocks}
    assert (values['pAcc'].ours, values['fwIoU'].ours, values['fwIoU'].difference) == (60.0, None, None)
    assert set(values) == {'mIoU', 'fwIoU', 'mAcc', 'pAcc'}
    low, high = values['mAcc'].interval
    assert low <= high


def test_formulas_and_citations():
    report = report_of('naclip/table5', 'cliptrase/table8')
    formulas = [number for line in report.blocks[0].lines for number in line.numbers.values()]
    assert len(formulas) == 30 and all(number.difference == 0 for number in formulas)
    assert [line.what for line in formats.printed(report.blocks[1])[0]] == ['cited']
    hows = {entry['how'] for entry in formats.entries(report)}
    assert hows == {'formula', 'cited', 'run'}
    assert 'Cited from the paper, not run here: PiCIE, STEGO' in as_markdown(report)


def compared(names, rows, datasets=('voc21',), **record):
    tables, options = find_tables(names), Options(datasets=datasets)
    plan = make_plan(tables, options)
    results = {leaf: fake_result(leaf, index, count=40, **record) for index, leaf in enumerate(plan.leaves)}
    report = make_report(plan, results, tables, options)
    report.comparisons = compare(*find_rows(plan, rows), results)
    return report


def test_two_rows_are_compared_image_by_image(capsys):
    report = compared(['naclip/table4'], ['Reduced', 'vanilla'], random_weights=True)
    (comparison,) = report.comparisons
    differences = [abs(image.difference) for image in comparison.images]
    assert differences == sorted(differences, reverse=True) and len(differences) == 8
    first = comparison.images[0]
    cells = [
        fake_result(leaf, index, count=40).cells[first.name]
        for index, leaf in ((1, comparison.leaves[0]), (0, comparison.leaves[1]))
    ]
    # Two classes of the truth, the second taken for a third: IoU 1, x / (x + 9), 0.
    expected = [100 * (1 + x / (x + 9) + 0) / 3 for x in (cell[1, 2] for cell in cells)]
    assert [first.first, first.second] == pytest.approx(expected)
    shares = [cell[:2, 2] / cell[:, 2].sum() for cell in cells]
    most = np.argmax(np.abs(shares[0] - shares[1]))
    assert (first.class_name, first.share) == (f'<{"ab"[most]}>', pytest.approx(100 * (shares[0] - shares[1])[most]))
    print_report(report)
    assert re.search(
        r'voc21: Reduced against Vanilla: [+-]\d+\.\d\d mIoU, 95 % .* p = \d\.\d{3} .* W\n',
        capsys.readouterr().out,
    )
    (entry,) = as_json(report)['comparisons']
    assert (entry['marks'], entry['p'], len(entry['images'])) == ('W', comparison.test.p, 8)


@pytest.mark.parametrize(
    ('tables', 'rows', 'message'),
    [
        (['naclip/table1'], ['NACLIP', 'SCLIP post=none'], r'"NACLIP" could be "naclip/table1 NACLIP post=none" or'),
        (['naclip/table1'], ['GroupViT', 'SCLIP post=none'], 'no row that is run is called "GroupViT"'),
        (['naclip/table4'], ['Vanila', 'Reduced'], 'did you mean "Vanilla"'),
        (['naclip/table4'], ['Vanilla', 'vanilla'], 'are not two runs on a dataset that both have'),
    ],
)
def test_rows_that_cannot_be_compared(tables, rows, message):
    with pytest.raises(BenchError, match=message):
        compared(tables, rows)


def test_a_row_that_stands_in_two_tables_as_the_same_run_is_one():
    plan = make_plan(find_tables(['naclip/table4', 'naclip/table3']), Options(datasets=('voc21',)))
    first, _ = find_rows(plan, ['naclip/table3 Vanilla', 'Reduced'])
    assert first.leaves == find_rows(plan, ['Vanilla', 'Reduced'])[0].leaves


@pytest.mark.parametrize(
    ('words', 'rows'),
    [
        (['clip'], ['CLIP']),
        (['NACLIP post=none', 'CLIP'], ['CLIP', 'NACLIP']),
        (['naclip/table1 SCLIP'], ['SCLIP', 'SCLIP']),
        (['surg', 'maskclip'], ['MaskCLIP', 'CLIP Surgery']),
    ],
)
def test_rows_are_asked_for_by_name_or_else_by_a_part_of_it(words, rows):
    plan = make_plan([find_table('naclip/table1')], Options(datasets=('voc21',), rows=tuple(words)))
    assert [cell.row.name for cell in plan.cells] == rows


def test_a_page_stands_alone_and_shows_names_as_text():
    page = Page(as_html(compared(['naclip/table4'], ['Reduced', 'vanilla'])))
    assert all(address.startswith('data:') for address in page.addresses)
    assert {'<a>', '<b>', '<c>'} <= set(page.texts['td'])
    assert not re.search(r'@import|url\(|https?:', ''.join(page.texts['style'] + page.texts['script']))


def test_the_page_has_its_charts_and_its_command():
    report = compared(['naclip/table4'], ['Reduced', 'vanilla'])
    report.command = 'naclip-bench reproduce naclip/table4 --pretrained "<a file>"'
    report.charts = {report.blocks[0].title: ['<svg id="drawn"></svg>']}
    page = as_html(report)
    assert page.count('<svg id="drawn">') == 1
    assert '--pretrained &#34;&lt;a file&gt;&#34;</code>' in page
    # These results are made up: there is nothing to segment, and the page says so.
    assert 'The predictions cannot be drawn: ' in page


def test_every_table_is_listed_and_found():
    assert [key for key, _ in catalog()['tables']] == list(TABLES)
    assert [table.key for table in find_tables(['naclip/table2', 'naclip/table1', 'naclip/table2'])] == [
        'naclip/table2',
        'naclip/table1',
    ]
    assert find_tables(['naclip/table1', 'all']) == list(TABLES.values())
    with pytest.raises(BenchError, match='did you mean "naclip/table1"'):
        find_tables(['naclip/tabel1'])


def test_a_plan_is_printed_with_its_passes(tmp_path, capsys):
    bench = TinyBench(tmp_path)
    options = Options(datasets=('voc21', 'voc20'), data_root=str(bench.folder / 'data'), limit=3)
    print_plan(make_plan([find_table('naclip/table4')], options), options)
    written = capsys.readouterr().out
    # 64 x 96 pixels become 336 x 504: windows at 2 x 4 places, seen by each of four leaves.
    assert re.search(r'voc21, voc20 +│ +4 │ +3 │ +1 │ +24 │ +96 ', written)
    assert '4 cells: 4 to run, as 4 leaves in 1 image passes' in written and '(4.0x)' in written and '~' not in written
    subset = tmp_path / 'subset.txt'
    subset.write_text('p1\n')
    options = Options(datasets=('voc21', 'ade20k'), data_root=str(bench.folder / 'data'), subset=subset)
    print_plan(make_plan([find_table('naclip/table4')], options), options)
    written = capsys.readouterr().out
    assert re.search(r'voc21 +│ +2 │ +1 │ +1 │ +8 │ +16 ', written) and re.search(r'ade20k +│ +2 │ +~2,000', written)


def test_the_page_in_a_browser(browser, tmp_path):
    """The table is there, its columns sort, wide ones scroll on a phone, and the console has no complaint."""
    report = compared(['naclip/table1'], ['NACLIP post=none', 'CLIP'], ('voc21', 'ade20k'))
    path = tmp_path / 'table.html'
    path.write_text(as_html(report))
    browser.get(path.as_uri())

    def column(index):
        script = """
            const rows = document.querySelector('table.sortable tbody').rows;
            return [...rows].map(row => row.cells[arguments[0]].innerText);
        """
        return [cell.split('\n')[0] for cell in browser.execute_script(script, index)]

    def click(index):
        browser.execute_script('document.querySelectorAll("table.sortable thead button")[arguments[0]].click()', index)

    rows, values = column(0), column(1)
    assert rows[:3] == ['CLIP', 'MaskCLIP', 'GroupViT'] and len(rows) == 16
    with_value = [float(value) for value in values if value]
    assert len(with_value) == 15
    for descending in (True, False):
        click(1)
        assert column(1) == [f'{value:.1f}' for value in sorted(with_value, reverse=descending)] + ['']
    click(1)
    assert (column(0), column(1)) == (rows, values)
    assert 'against' in browser.find_element('css selector', '.comparison').text
    bar = browser.find_element('css selector', '.bars td[style]')
    assert bar.text == '100.0' and 'gradient' in bar.value_of_css_property('background-image')
    phone = dict(width=390, height=844, deviceScaleFactor=1, mobile=True)
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', phone)
    assert browser.execute_script('return document.documentElement.scrollWidth') == 390
    assert browser.get_log('browser') == []
