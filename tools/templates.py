"""``naclip-bench templates``, also from a checkout that is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naclip_bench.cli import tool

if __name__ == '__main__':
    tool('templates')
