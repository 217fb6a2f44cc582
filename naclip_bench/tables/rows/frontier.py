"""A table that no paper has: every method of the suite and the best systems, over the eight benchmarks."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import method
from .weights import DATASETS

#: Methods by the name that ``papers.csv`` has them by.
METHODS = {
    'CLIP': 'clip',
    'MaskCLIP': 'maskclip',
    'CLIP Surgery': 'clip_surgery',
    'GEM': 'gem',
    'SCLIP': 'sclip',
    'ClearCLIP': 'clearclip',
    'NACLIP': 'naclip',
    'CLIPtrase': 'cliptrase',
    'GCLIP': 'gclip',
    'ResCLIP': 'resclip',
    'SC-CLIP': 'scclip',
    'SFP': 'sfp',
    'ProxyCLIP': 'proxyclip',
    'LPOSS': 'lposs',
    'LPOSS+': 'lposs_plus',
    'CASS': 'cass',
    'Trident': 'trident',
    'CorrCLIP': 'corrclip',
}

SAM3 = 'needs SAM 3, which is trained on images with words and masks'
LATER = 'not in the suite yet'

#: Systems that are cited, and why they are not run.
CITED = {
    'PEARL': LATER,
    'DIH-CLIP': LATER,
    'RF-CLIP': LATER,
    'Talk2DINO': 'trained: a map from the words of CLIP to DINOv2',
    'OV-Stitcher': LATER,
    'CorrCLIPv2 (first)': LATER,
    'CorrCLIPv2 (second)': LATER,
    'SegEarth-OV3': SAM3,
    'CoCo-SAM3': SAM3,
    'ConceptBank': f'{SAM3}, and a bank made of images of each dataset',
}

#: What is to be known of a mean.
REMARKS = {
    'SFP': "the log that comes with its code says 61.4 on VOC21, where the paper's mean is with 63.9",
    'OV-Stitcher': 'the mean of the eight values of its best row; its abstract says 50.7',
    'CASS': "another paper's run of it has 40.1",
    'CLIP': "as NACLIP's paper has it",
    'MaskCLIP': "as NACLIP's paper has it",
    'SCLIP': "as NACLIP's paper has it",
    'LPOSS': "with its authors' weights, LAION-2B",
    'CorrCLIP': "with MetaCLIP's weights; another paper has 48.7 with OpenAI's",
}

NOTE = (
    'The papers have protocols, weights and class names of their own; ours is the common protocol. '
    'Seconds an image and MiB are what `benchmark clip_voc21 --beside ... --out FILE` measured, by --costs.'
)


def tables() -> list[TableSpec]:
    rows = [Row(name, remark=REMARKS.get(name, ''), **method(key)) for name, key in METHODS.items()]
    rows += [Row(name, remark=REMARKS.get(name, ''), cited=why) for name, why in CITED.items()]
    return [TableSpec('frontier/table1', 'methods and cited systems, common protocol', tuple(rows), DATASETS, NOTE)]
