import copy
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
# Tests stand on this machine alone, and leave nothing behind in the user's folders.
os.environ['HF_HUB_OFFLINE'] = '1'

from golden import TINY

from naclip_bench.backbones import clip, weights
from naclip_bench.backbones.described import described_device
from naclip_bench.configuration import register

register()

# How long an example takes says more of the machine than of the code.
settings.register_profile('suite', deadline=None)
settings.load_profile('suite')

#: Real images with masks in mmseg's layout; they belong to their owners and are not part of the project.
REAL_DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'


@pytest.fixture(autouse=True, scope='session')
def text_cache(tmp_path_factory):
    """Text vectors shared by all tests of a run, and by no other."""
    folder = tmp_path_factory.mktemp('text-cache')
    os.environ['NACLIP_BENCH_CACHE'] = str(folder)
    return folder


@pytest.fixture(autouse=True, scope='session')
def one_tiny_clip():
    """The small CLIP drawn once: more than half of what a test of a method would take."""
    load, drawn = clip.load_clip, weights.load_clip(TINY, None)

    def copied(arch, pretrained, colors):
        if (arch, pretrained, colors) != (TINY, None, None) or described_device():
            return load(arch, pretrained, colors)
        # The tokenizer, which has a vocabulary of 49,408 words, is nobody's to change.
        return replace(drawn, model=copy.deepcopy(drawn.model))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip, 'load_clip', copied)
        yield


@pytest.fixture(scope='session')
def tiny_arch(tmp_path_factory):
    """The small CLIP's config as a JSON file."""
    path = tmp_path_factory.mktemp('arch') / 'tiny.json'
    path.write_text(json.dumps(TINY))
    return str(path)


@pytest.fixture(scope='session')
def real_data():
    if not REAL_DATA.is_dir():
        pytest.skip(f'no real images at {REAL_DATA}')
    return REAL_DATA


@pytest.fixture(scope='module')
def browser():
    """Debian's Chromium without a window."""
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
    programs = [shutil.which(name) for name in ('chromium', 'chromedriver')]
    if None in programs:
        pytest.skip('no chromium and chromedriver here')
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()
