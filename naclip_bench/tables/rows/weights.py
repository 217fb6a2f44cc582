"""A table that no paper has: methods on CLIP alone, each on several weights, under the common protocol."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import BACKBONES, method, weights

METHODS = {
    'MaskCLIP': 'maskclip',
    'SCLIP': 'sclip',
    'ClearCLIP': 'clearclip',
    'NACLIP': 'naclip',
    'GCLIP': 'gclip',
    'ResCLIP': 'resclip',
    'SC-CLIP': 'scclip',
    'SFP': 'sfp',
}

WEIGHTS = {
    'ViT-B/16 OpenAI': BACKBONES['ViT-B/16'],
    'ViT-B/16 LAION-2B': BACKBONES['OpenCLIP'],
    'ViT-B/16 DataComp': weights('ViT-B-16', 'datacomp_xl_s13b_b90k'),
    'ViT-B/16 MetaCLIP': BACKBONES['MetaCLIP'],
    'ViT-B/16 DFN': weights('ViT-B-16-quickgelu', 'dfn2b'),
    'ViT-B/32 OpenAI': BACKBONES['ViT-B/32'],
    'ViT-L/14 OpenAI': BACKBONES['ViT-L/14'],
}

DATASETS = ('voc21', 'pc60', 'coco_object', 'voc20', 'cityscapes', 'pc59', 'ade20k', 'coco_stuff')


def tables() -> list[TableSpec]:
    rows = [
        Row(name, f'weights={which}', **method(key, **of))
        for name, key in METHODS.items()
        for which, of in WEIGHTS.items()
    ]
    return [TableSpec('weights/table1', 'methods on several weights, common protocol', tuple(rows), DATASETS)]
