"""Draw the docs' picture of the page of ``naclip-bench demo``, by Chromium without a window (Debian's chromium-driver).

python tools/draw_demo.py docs/images/demo.jpg
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.errors import BenchError, CommandParser, run_command

#: Pixels of the window, beside the page's own height.
WIDTH, HEIGHT = 1320, 1000

#: Where the image is clicked, in pixels from its middle.
CLICK = 60, 60

ARGUMENTS = ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars')


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path)
    out = parser.parse_args().out
    programs = [shutil.which(name) for name in ('chromium', 'chromedriver')]
    if None in programs:
        raise BenchError('there is no chromium or chromedriver here; install them')
    from PIL import Image
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    from naclip_bench.cli.demo import notice_of
    from naclip_bench.demo.page import served
    from naclip_bench.demo.workbench import Workbench
    from naclip_bench.segment import Segmenter

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in (*ARGUMENTS, f'--window-size={WIDTH},{HEIGHT}'):
        options.add_argument(argument)
    segmenter = Segmenter('naclip', ['image'], weights='materials', device='cpu')
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    try:
        with served(Workbench(segmenter), notice_of(segmenter), '127.0.0.1', None) as (_, address):
            driver.get(address)
            for image in ('#result img', '#attention img'):
                WebDriverWait(driver, 300).until(lambda of, css=image: of.find_elements('css selector', css))
                if image == '#result img':
                    shown = driver.find_element('css selector', '#image img')
                    webdriver.ActionChains(driver).move_to_element_with_offset(shown, *CLICK).click().perform()
            # The window grows to the page, whose parts then settle.
            driver.set_window_size(WIDTH, HEIGHT)
            script = 'return Math.ceil(document.querySelector("main").getBoundingClientRect().bottom + window.scrollY)'
            driver.set_window_size(WIDTH, driver.execute_script(script) + driver.execute_script(
                'return window.outerHeight - window.innerHeight'))  # fmt: skip
            driver.execute_async_script('setTimeout(arguments[0], 3000)')
            Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert('RGB').save(out, quality=88)
    finally:
        driver.quit()
    print(out)


if __name__ == '__main__':
    run_command(main)
