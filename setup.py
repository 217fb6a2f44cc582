"""Where the packages lie: configs and subsets are at the top of a checkout, and beside the modules once installed.

All else about the package is in setup.cfg.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=['naclip_bench*']), 'naclip_bench.configs', 'naclip_bench.subsets'],
    package_dir={'naclip_bench.configs': 'configs', 'naclip_bench.subsets': 'data/subsets'},
)
