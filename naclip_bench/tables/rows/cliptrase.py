"""CLIPtrase's tables."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import OTHER_MODELS, TRAINED, method, runs


def tables() -> list[TableSpec]:
    unsupervised = 'an unsupervised protocol with other classes'
    off = dict(model__cluster=None)
    clip = dict(**off, model__recover=None)
    # SCLIP's attention and nothing else of CLIPtrase's, under its protocol.
    sclip = dict(**off, model__recover='qk')
    table1 = [
        Row(name, 'train=yes', cited=TRAINED)
        for name in ('GroupViT', 'MaskCLIP', 'TCL', 'CAT-Seg', 'DeOP', 'OVSeg', 'SAN')
    ]
    table1 += [
        Row('CLIP', 'train=no;size=336', **method('official/cliptrase', **clip)),
        Row('CLIP Surgery', 'train=no', cited='under its own protocol'),
        Row('SCLIP', 'train=no;size=336', **method('official/cliptrase', **sclip)),
        Row('CLIPtrase', 'train=no;size=336', **method('official/cliptrase')),
    ]
    small = 'official/cliptrase_{dataset}_224'
    ablation = {
        'Module: CLIP': clip,
        'Module: +SCR': off,
        'Module: +SCR+PC': dict(model__denoise=False),
        'Module: +SCR+PC+D': {},
        'Correlation: inner product': dict(model__correlation='product'),
        'Correlation: cosine': {},
        'Cluster: features': dict(model__cluster='features'),
        'Cluster: attention prototypes': {},
        'Image size: 224': {},
    }
    table2 = [Row(name, 'size=224', **runs(small, **changed)) for name, changed in ablation.items()]
    table2 += [Row('Image size: 336', 'size=224', **method('official/cliptrase'))]
    table2 += [Row(f'Layer: {layer}', 'size=224', **runs(small, model__layer=layer)) for layer in (9, 10, 11, 12)]
    no_code = 'its code was not released'
    table4 = [
        Row('w/o SCR', 'size=224', **runs(small, **clip)),
        *(
            Row(name, 'size=224', cited=no_code)
            for name in ('<x_i,x_i>', '<x_i,x_j>', 'COS(x_i,x_j)', 'COS(x_i,x_j), j in GT')
        ),
        Row('CLIPtrase (inner product SCR)', 'size=224', **runs(small, model__correlation='product')),
        Row('CLIPtrase (cosine SCR)', 'size=224', **runs(small)),
    ]
    sizes = {224: small, 336: 'official/cliptrase_{dataset}'}
    by_size = {
        size: tuple(
            Row(name, f'size={size}', **runs(config, **changed))
            for name, changed in (('CLIP', clip), ('SCLIP', sclip), ('CLIPtrase', {}))
        )
        for size, config in sizes.items()
    }
    return [
        TableSpec('cliptrase/table1', 'methods on nine benchmarks', tuple(table1)),
        TableSpec('cliptrase/table2', 'modules and their forms', tuple(table2)),
        TableSpec(
            'cliptrase/table3',
            'SAM in place of clustering',
            (
                Row('CLIP', 'size=336', **method('official/cliptrase', **clip)),
                Row('SCR+PC+D', 'size=336', **method('official/cliptrase')),
                Row('SCR+D+SAM', 'size=336', cited=OTHER_MODELS),
            ),
        ),
        TableSpec('cliptrase/table4', 'forms of the correlation', tuple(table4)),
        TableSpec(
            'cliptrase/table5',
            'clusters of DINOv2',
            (
                Row('CLIPtrase + DINOv2', 'size=224', cited=OTHER_MODELS),
                Row('CLIPtrase', 'size=224', **runs(small)),
            ),
        ),
        TableSpec('cliptrase/table6', 'all metrics at 224 pixels', by_size[224]),
        TableSpec('cliptrase/table7', 'all metrics at 336 pixels', by_size[336]),
        TableSpec(
            'cliptrase/table8',
            'unsupervised segmentation',
            tuple(
                Row(name, 'unsupervised', cited=unsupervised)
                for name in ('PiCIE', 'STEGO', 'HP', 'SmooSeg', 'CLIPtrase')
            ),
        ),
    ]
