"""Print the lowest version of every range in setup.cfg, for ``pip install --constraint``."""

import configparser
import re
from pathlib import Path

config = configparser.ConfigParser()
config.read(Path(__file__).resolve().parent.parent / 'setup.cfg', encoding='utf-8')
needed = config['options']['install_requires'] + ''.join(config['options.extras_require'].values())
for name, version in re.findall(r'^([\w.-]+)>=([\d.]+)', needed, re.MULTILINE):
    print(f'{name}=={version}')
