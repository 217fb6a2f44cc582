"""The page of ``naclip-bench demo``: what it asks for, and a visit in a browser without a network."""

from __future__ import annotations

import csv
import io
import socket
import sys
import zipfile
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import COMMAND, run_here

from naclip_bench.cli import demo
from naclip_bench.datasets.materials.dataset import CLASSES
from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.demo.workbench import EXAMPLES, Asked, Workbench, archive, examples, panels
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.overlay import side_by_side
from naclip_bench.segment import Segmenter

WORDS = 'grass, lawn; brick; lava; zebra'
SECONDS = 240


@pytest.fixture(scope='module')
def workbench() -> Workbench:
    return Workbench(Segmenter('naclip', ['image'], weights='materials', device='cpu'))


def labels(workbench: Workbench, *methods: str, **asked: object) -> list[np.ndarray]:
    return [result.labels for result in workbench.segment(drawn('00000').image, Asked(methods, WORDS, **asked))]


def test_labels_are_those_of_the_segmenter(workbench):
    asked = dict(background=True, threshold=0.4, sigma=2.0, pamr=2)
    refine = {'model.refine': dict(iterations=2)}
    for method, settings in (('naclip', {'model.sigma': 2.0, **refine}), ('sclip', refine)):
        alone = Segmenter(
            method, WORDS, background=True, threshold=0.4, weights='materials', settings=settings, device='cpu'
        )
        (found,) = labels(workbench, method, **asked)
        assert (found == alone(drawn('00000').image).labels).all()


def test_every_control_decides(workbench):
    usual = labels(workbench, 'naclip', 'sclip')
    assert (usual[0] != usual[1]).any()
    for changed in (dict(background=True, threshold=0.6), dict(pamr=5)):
        found = labels(workbench, 'naclip', 'sclip', **changed)
        assert all((of != before).any() for of, before in zip(found, usual, strict=True))
    naclip, sclip = labels(workbench, 'naclip', 'sclip', sigma=1.0)
    assert (naclip != usual[0]).any() and (sclip == usual[1]).all()


def test_panels_and_archive(workbench, tmp_path):
    results = workbench.segment(drawn('00000').image, Asked(('naclip', 'sclip'), WORDS, True))
    first = results[0]
    expected = side_by_side(first.image, {of.method: of.labels for of in results}, first.names, outside='no class')
    assert (np.asarray(panels(results, 0.45)) == np.asarray(expected)).all()
    pale, covered = (np.asarray(panels(results, opacity)) for opacity in (0, 1))
    assert (pale != covered).any()
    archive(results, 0.45, tmp_path / 'a.zip')
    with zipfile.ZipFile(tmp_path / 'a.zip') as file:
        assert file.namelist() == ['labels_naclip.png', 'labels_sclip.png', 'panels.png', 'shares.csv']
        stored = np.asarray(Image.open(io.BytesIO(file.read('labels_sclip.png'))))
        rows = list(csv.reader(io.StringIO(file.read('shares.csv').decode())))
    assert (stored == results[1].labels).all()
    assert len(rows) == 1 + 2 * len(first.names)


def test_attention_of_a_point_is_drawn(workbench):
    near, far = (workbench.attention(drawn('00000').image, Asked(('naclip',), WORDS), at) for at in ((5, 5), (90, 80)))
    assert near.size == far.size and (np.asarray(near) != np.asarray(far)).any()


def test_examples_have_words_for_what_is_on_them(workbench, tmp_path):
    for (path, words), name in zip(examples(tmp_path), EXAMPLES, strict=True):
        there = {CLASSES[label - 1] for label in np.unique(drawn(name).labels) if label}
        assert there < set(words.split(', ')) <= set(CLASSES)
        (result,) = workbench.segment(path, Asked(('naclip',), words))
        assert there & {word for word, pixels in result.areas.items() if pixels}


@pytest.mark.parametrize(
    ('given', 'asked', 'said'),
    [
        (None, Asked(('naclip',), WORDS), 'there is no image; drop one'),
        (b'', Asked(('naclip',), WORDS), 'the image is empty'),
        (b'no image', Asked(('naclip',), WORDS), 'cannot be decoded'),
        (drawn('00000').image, Asked((), WORDS), 'there is no method'),
        (drawn('00000').image, Asked(('naclip',), ' , '), 'there are no words'),
        (drawn('00000').image, Asked(('naclip',), 'dog ' * 90), 'shorten it'),
    ],
)
def test_mistakes_are_one_line(workbench, given, asked, said):
    for work in (workbench.segment, lambda *of: workbench.attention(*of, (3, 3))):
        with pytest.raises(BenchError, match=said) as caught:
            work(given, asked)
        assert '\n' not in str(caught.value)


def chosen(*words: str) -> Segmenter:
    parser = ArgumentParser()
    demo.add_arguments(parser)
    return demo._segmenter(parser.parse_args([*words, '--device', 'cpu']))


def test_weights_at_hand_are_taken_and_told(monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    assert demo.notice_of(chosen()) == demo.TOY and 'nothing of photographs' in demo.TOY
    assert demo.notice_of(chosen('--weights', 'none', '--arch', 'materials')) == demo.RANDOM
    with pytest.raises(BenchError, match='cannot be had'):
        chosen('--weights', 'openai')


def test_without_gradio_it_is_one_line(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    ended = run_here(capfd, [], COMMAND.with_name('demo.py'))
    assert (ended.code, ended.stdout) == (1, '')
    assert ended.stderr == "error: the page needs gradio: pip install 'naclip_bench[demo]'\n"


@pytest.fixture
def connections(monkeypatch) -> list:
    """Addresses beyond this machine to which anything in this process connects."""
    connect, found = socket.socket.connect, []

    def watched(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ('127.0.0.1', '::1', 'localhost'):
            found.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, 'connect', watched)
    return found


def test_a_port_that_is_taken_is_one_line(workbench):
    page = pytest.importorskip('naclip_bench.demo.page')
    pytest.importorskip('gradio', reason='the extra demo is not installed')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(BenchError, match=f'cannot have the port {port}'),
            page.served(workbench, demo.TOY, '127.0.0.1', port),
        ):
            pass


def test_a_visit(browser, workbench, tmp_path, connections):
    """Upload, segment, click a patch, download; a broken file is one line; nothing comes from elsewhere."""
    pytest.importorskip('gradio', reason='the extra demo is not installed')
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    from naclip_bench.demo.page import served

    def find(selector: str, driver: object = browser) -> object:
        found = driver.find_elements('css selector', selector)
        return found[0] if found else None

    def wait(until: object) -> object:
        return WebDriverWait(browser, SECONDS).until(until)

    def source(selector: str) -> str | None:
        found = find(selector)
        return found and found.get_attribute('src')

    def upload(path: Path) -> None:
        before = source('#image img')
        # The image that is there has to go before another can be uploaded.
        wait(lambda driver: find('#image input[type=file]') or find('#image button[aria-label*=lear]'))
        if not find('#image input[type=file]'):
            find('#image button[aria-label*=lear]').click()
        wait(lambda driver: find('#image input[type=file]')).send_keys(str(path))
        wait(lambda driver: source('#image img') not in (None, before))

    Image.fromarray(drawn('00002', 3).image).save(tmp_path / 'own.png')
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'own.png').read_bytes()[:-40])
    browser.set_window_size(1320, 1400)
    with served(workbench, demo.TOY, '127.0.0.1', None) as (_, address):
        browser.get(address)
        wait(lambda driver: source('#result img'))
        assert 'Toy weights' in find('#notice').text
        first = source('#result img')
        upload(tmp_path / 'own.png')
        words = find('#words textarea')
        words.clear()
        words.send_keys('wood, bamboo')
        find('#segment').click()
        wait(lambda driver: source('#result img') not in (None, first))
        assert find('#attention img') is None
        ActionChains(browser).move_to_element_with_offset(find('#image img'), 20, 10).click().perform()
        wait(lambda driver: source('#attention img'))
        assert find('#download').get_attribute('disabled') is None
        loaded = browser.execute_script('return performance.getEntriesByType("resource").map(entry => entry.name)')
        assert len(loaded) > 10 and all(url.startswith((address, 'data:', 'blob:')) for url in loaded)
        # Gradio itself warns, of uploads.
        assert [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE'] == []
        upload(tmp_path / 'broken.png')
        find('#segment').click()
        wait(lambda driver: 'is truncated; copy it again' in find('body').text)
    assert connections == []
