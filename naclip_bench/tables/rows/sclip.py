"""SCLIP's tables."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import NO_POST, OTHER_MODELS, TRAINED, at_sizes, method, with_pamr


def tables() -> list[TableSpec]:
    trained = ('GroupViT', 'ReCo', 'TCL')
    table1 = (
        Row('CLIP', NO_POST, **method('clip')),
        Row('MaskCLIP', NO_POST, **method('maskclip')),
        *(Row(name, NO_POST, cited=OTHER_MODELS if name == 'ReCo' else TRAINED) for name in trained),
        Row('CLIP Surgery', NO_POST, **method('clip_surgery')),
        Row('OVSegmentor', NO_POST, cited=TRAINED),
        Row('SegCLIP', NO_POST, cited=TRAINED),
        Row('SCLIP', NO_POST, **method('sclip')),
        Row('CLIP', 'post=pamr', **with_pamr('clip')),
        Row('MaskCLIP', 'post=pamr', **with_pamr('maskclip')),
        *(Row(name, 'post=pamr', cited=OTHER_MODELS if name == 'ReCo' else TRAINED) for name in trained),
        Row('SCLIP', 'post=pamr', **with_pamr('sclip')),
    )
    projections = {
        'Identity projection': dict(model__attention='identity'),
        'W_q projection': dict(model__attention='q'),
        'W_k projection': dict(model__attention='k'),
        **{f'Random projection n={n}': dict(model__attention='random', model__projections=n) for n in (1, 4, 16)},
        'Default': {},
    }
    table2 = [Row(name, 'csa projection', **method('sclip', **changed)) for name, changed in projections.items()]
    table2.insert(3, Row('Learned projection', 'csa projection', cited=TRAINED))
    taus = {'tau=8 (CLIP default)': 8, 'tau=2': 2, 'tau=0.5': 0.5, 'tau->0 (hard max)': 0}
    alternatives = {
        **{
            f'Attention sharpening {name}': dict(model__attention='sharpen', model__tau=tau)
            for name, tau in taus.items()
        },
        **{
            f'Local attention window={side}': dict(model__attention='local', model__local_side=side)
            for side in (3, 5, 7)
        },
        **{
            f'Attention map from layer {layer}': dict(model__attention='early', model__layer=layer)
            for layer in (1, 3, 5, 7)
        },
        'SCLIP': {},
    }
    sizes = ((224, 224, 112), (336, 224, 112), (336, 336, 112), (448, 224, 112), (448, 448, 224))
    return [
        TableSpec('sclip/table1', 'methods on the eight benchmarks', table1),
        TableSpec('sclip/table2', 'projections of the correlative self-attention', tuple(table2)),
        TableSpec(
            'sclip/table3',
            'other ways to change the attention',
            tuple(Row(name, 'alternatives', **method('sclip', **changed)) for name, changed in alternatives.items()),
        ),
        TableSpec(
            'sclip/table4',
            'sizes of image, window and stride',
            tuple(
                Row(
                    f'#{number} short={short} window={window} stride={stride}',
                    'image pre-processing',
                    **method('sclip', **at_sizes(short, window, stride)),
                )
                for number, (short, window, stride) in enumerate(sizes, 1)
            ),
        ),
    ]
