"""What is run: leaves, and which images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config


@dataclass(eq=False)
class Leaf:
    """A method with its settings on a dataset: what one number of a table stands for, computed once.

    Attributes:
        name: of its config.
        config: with all settings in it.
        overrides: settings that differ from the config's file, by their dotted names.
    """

    name: str
    config: Config
    overrides: dict[str, object] = field(default_factory=dict)

    @property
    def dataset_key(self) -> str:
        """Tell the ground truth: leaves with the same key are scored against the same masks."""
        return json.dumps(self.config.test_dataloader.dataset.to_dict(), sort_keys=True, default=str)


@dataclass(frozen=True)
class Selection:
    """Which images of a dataset; all unless said.

    Attributes:
        limit, subset: see :func:`naclip_bench.datasets.check.select`.
    """

    limit: int | None = None
    subset: Path | None = None
