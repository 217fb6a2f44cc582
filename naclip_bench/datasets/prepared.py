"""The command that brings a dataset of the suite into its folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..bundled import CONFIGS


def how_to_get(config: ConfigDict) -> str:
    """What to do where files of a dataset are missing: ``'run: naclip-bench data prepare voc'``.

    A dataset of one's own, which no command makes, is described in the documentation.

    Args:
        config: of a dataset; one of the suite's where class and folder, below any data root, are the same.
    """
    place = Path(config.data_root).parts
    for path in sorted((CONFIGS / '_base_' / 'datasets').glob('*.py')):
        known = Config.fromfile(path)
        dataset = known.test_dataloader.dataset
        data, *folder = Path(dataset.get('data_root', '')).parts or ('',)
        if folder and dataset.type == config.type and place[-len(folder) :] == tuple(folder):
            root = str(Path(*place[: -len(folder)]))
            where = [] if root == data else ['--data-root', root]
            return f'run: {shlex.join(["naclip-bench", "data", "prepare", known.recipe, *where])}'
    return 'see docs/data.md'
