"""GCLIP's tables."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import BACKBONES, TRAINED, method, runs

#: What a config of GCLIP becomes; ``model__token`` says which tokens are asked.
AS_CLASSIFIED = dict(
    model__type='TokenAgreement',
    model__window=None,
    test_dataloader__dataset__pipeline=[
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='CentralSquare', size=224),
        dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')),
    ],
    test_evaluator__type='AgreementMetric',
)


def tables() -> list[TableSpec]:
    ours, trained, other = 'setting=TF-OVSS', 'setting=T-OVSS', 'setting=USS'
    methods = {
        'CLIP': method('clip'),
        'MaskCLIP': method('maskclip'),
        'CLIP Surgery': method('clip_surgery'),
        'GEM': method('gem'),
        'SCLIP': method('sclip'),
        'CLIPtrase': method('official/cliptrase'),
        'ClearCLIP': method('clearclip'),
        'ClearCLIP + CS': method('gclip', model__fuse_following=None),
        'GCLIP': method('gclip'),
    }
    table1 = [Row(name, trained, cited=TRAINED) for name in ('GroupViT', 'CoCu', 'TCL')]
    table1 += [Row(name, other, cited=TRAINED) for name in ('MaskCLIP+', 'CLIP-S4', 'ReCLIP')]
    table1 += [Row(name, ours, **run) for name, run in methods.items()]
    entropies = {5: 0.96, 6: 0.93, 7: 0.53, 8: 0.28, 9: 0.09, 10: 0.12}
    return [
        TableSpec('gclip/table1', 'methods on five benchmarks', tuple(table1)),
        TableSpec(
            'gclip/table2',
            'blocks that are fused',
            tuple(Row(f'l={depth}', 'AMF depth', **method('gclip', model__fuse_following=depth)) for depth in range(5)),
        ),
        TableSpec(
            'gclip/table3',
            'first block of channel suppression',
            tuple(
                Row(
                    f'CS from block {block}',
                    f'weight-norm entropy={entropy}; CS only',
                    **method('gclip', model__fuse_following=None, model__suppress_from=block),
                )
                for block, entropy in entropies.items()
            ),
        ),
        TableSpec(
            'gclip/table4',
            'what is fused',
            (
                Row('[CLS] attention', 'fusion source', **method('gclip', model__fused='cls')),
                Row('AMF', 'fusion source', **method('gclip')),
            ),
        ),
        TableSpec(
            'gclip/table5',
            'agreement of tokens with [CLS] in zero-shot classification',
            tuple(
                Row(
                    name,
                    'agreement with [CLS] classification',
                    **runs('gclip_{dataset}', **AS_CLASSIFIED, model__token=name.lower()),
                )
                for name in ('Random', 'Global')
            ),
            note='Of the central square of each image, with all other patches in place of one drawn at random; see '
            'naclip_bench/methods/global_tokens.py.',
        ),
        TableSpec(
            'gclip/table6',
            'other weights',
            tuple(
                Row(name, f'backbone={backbone}', **method(key, **BACKBONES[backbone]))
                for backbone in ('OpenCLIP', 'MetaCLIP')
                for name, key in (('CLIP', 'clip'), ('ClearCLIP', 'clearclip'), ('GCLIP', 'gclip'))
            ),
        ),
    ]
