"""One's own images and masks, whose classes are written once."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..vocabulary import printed_names


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """A folder of images and one of masks; the lines of a class-name file are the classes, in the order of the labels.

    Args:
        class_names: see :class:`Vocabulary`.
        **kwargs: see mmseg's ``BaseSegDataset``.

    >>> FolderDataset('voc20', lazy_init=True).metainfo['classes'][:2]
    ('aeroplane', 'bicycle')
    """

    def __init__(self, class_names: str, **kwargs: object) -> None:
        super().__init__(metainfo=dict(classes=printed_names(class_names)), **kwargs)
