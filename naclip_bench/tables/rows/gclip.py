"""GCLIP's tables."""

from __future__ import annotations

from ..spec import Row, TableSpec
from .building import BACKBONES, QUOTED, cited, method, one_name, runs

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

SIZES = 'The paper uses category names only, and does not print sizes of images and windows: the common ones are taken'
OF_CLEARCLIP = "quoted from ClearCLIP's paper: run under ClearCLIP's official protocol"


def _ours(**changed: object) -> dict[str, object]:
    return one_name(method('gclip', **changed))


def tables() -> list[TableSpec]:
    ours, trained, other = 'setting=TF-OVSS', 'setting=T-OVSS', 'setting=USS'
    clearclip = 'official/clearclip'
    table1 = (
        *(cited(name, trained) for name in ('GroupViT', 'CoCu', 'TCL')),
        *(cited(name, other) for name in ('MaskCLIP+', 'CLIP-S4', 'ReCLIP')),
        Row(
            'CLIP',
            ours,
            **method(clearclip, model__attention='vanilla', model__residual=True),
            remark=OF_CLEARCLIP,
        ),
        Row(
            'MaskCLIP',
            ours,
            **method('official/maskclip'),
            remark='by its released source, as the paper says; GELU and another LayerNorm eps, which that has in CLIP, '
            'are left out, and its short side of 512 is taken for ADE20K and Cityscapes, for which it has none',
        ),
        Row('CLIP Surgery', ours, **method('clip_surgery'), remark=QUOTED),
        Row(
            'GEM',
            ours,
            **method(clearclip, model__type='GEM'),
            remark=f"{OF_CLEARCLIP}, GEM with the depth and the prompt of its own code; ClearCLIP's code has a GEM of "
            'its own in the last block',
        ),
        Row('SCLIP', ours, **method('sclip')),
        Row('CLIPtrase', ours, **method('official/cliptrase')),
        Row('ClearCLIP', ours, **method(clearclip), remark=OF_CLEARCLIP),
        Row('ClearCLIP + CS', ours, **_ours(model__fuse_following=None)),
        Row('GCLIP', ours, **_ours()),
    )
    entropies = {5: 0.96, 6: 0.93, 7: 0.53, 8: 0.28, 9: 0.09, 10: 0.12}
    return [
        TableSpec('gclip/table1', 'methods on five benchmarks', table1, note=f'{SIZES} for GCLIP and +CS.'),
        TableSpec(
            'gclip/table2',
            'blocks that are fused',
            tuple(Row(f'l={depth}', 'AMF depth', **_ours(model__fuse_following=depth)) for depth in range(5)),
            note=f'{SIZES}.',
        ),
        TableSpec(
            'gclip/table3',
            'first block of channel suppression',
            tuple(
                Row(
                    f'CS from block {block}',
                    f'weight-norm entropy={entropy}; CS only',
                    **_ours(model__fuse_following=None, model__suppress_from=block),
                    remark='Context is printed as 5.9; with 35.9 the printed average is right' if block == 10 else '',
                )
                for block, entropy in entropies.items()
            ),
            note=f'{SIZES}.',
        ),
        TableSpec(
            'gclip/table4',
            'what is fused',
            (
                Row('[CLS] attention', 'fusion source', **_ours(model__fused='cls')),
                Row('AMF', 'fusion source', **_ours()),
            ),
            note=f'{SIZES}.',
        ),
        TableSpec(
            'gclip/table5',
            'agreement of tokens with [CLS] in zero-shot classification',
            tuple(
                Row(
                    name,
                    'agreement with [CLS] classification',
                    **one_name(runs('gclip_{dataset}', **AS_CLASSIFIED, model__token=name.lower())),
                )
                for name in ('Random', 'Global')
            ),
            note='Of the central square of each image, with all other patches in place of one drawn at random; see '
            'naclip_bench/methods/global_tokens.py. One name a class.',
        ),
        TableSpec(
            'gclip/table6',
            'other weights',
            tuple(
                Row(name, f'backbone={backbone}', **one_name(method(key, **BACKBONES[backbone])))
                for backbone in ('OpenCLIP', 'MetaCLIP')
                for name, key in (('CLIP', 'clip'), ('ClearCLIP', 'clearclip'), ('GCLIP', 'gclip'))
            ),
            note=f'{SIZES}. Nor does it print which weights: of OpenCLIP laion2b_s34b_b88k, of MetaCLIP '
            'metaclip_fullcc are taken.',
        ),
    ]
