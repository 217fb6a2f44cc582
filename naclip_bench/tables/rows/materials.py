"""The table that needs neither data nor weights."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import method


def tables() -> list[TableSpec]:
    methods = {
        'CLIP': 'clip',
        'MaskCLIP': 'maskclip',
        'SCLIP': 'sclip',
        'CLIP Surgery': 'clip_surgery',
        'GEM': 'gem',
        'ClearCLIP': 'clearclip',
        'CLIPtrase': 'cliptrase',
        'NACLIP': 'naclip',
        'GCLIP': 'gclip',
        'ResCLIP': 'resclip',
        'SC-CLIP': 'scclip',
        'SFP': 'sfp',
    }
    return [
        TableSpec(
            'materials/methods',
            'every method on CLIP alone, on images drawn by code, with a tiny CLIP that comes along',
            tuple(Row(name, **method(key)) for name, key in methods.items()),
            ('materials24', 'materials25'),
            note='A stand-in for checking and learning: no number here is a number of any paper.',
            mean=False,
        )
    ]
