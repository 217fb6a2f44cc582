"""Where what is computed once is kept for later runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Tell the folder of text vectors and files' digests: ``$NACLIP_BENCH_CACHE``, or the user's cache folder."""
    own = os.environ.get('NACLIP_BENCH_CACHE')
    base = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'naclip_bench'
    return Path(own) if own else base
