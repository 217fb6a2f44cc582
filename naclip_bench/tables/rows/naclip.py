"""NACLIP's tables, and its figure of sigma."""

from __future__ import annotations

from ..closed_forms import patches_above
from ..spec import Row, TableSpec
from .building import BACKBONES, NO_POST, QUOTED, cited, method, with_pamr

WINDOWS = "VOC with windows, as the paper says; its authors' code takes it whole"
WHOLE = "NACLIP with PAMR is what its authors' code runs, VOC on whole images."


def tables() -> list[TableSpec]:
    post = 'post=yes'
    table1 = (
        Row('CLIP', NO_POST, **method('clip')),
        Row('MaskCLIP', NO_POST, **method('maskclip')),
        cited('GroupViT', NO_POST),
        Row('CLIP Surgery', NO_POST, **method('clip_surgery'), remark=QUOTED),
        cited('CLIP-DIY', NO_POST),
        Row('GEM', NO_POST, **method('gem'), remark=QUOTED),
        Row('SCLIP', NO_POST, **method('sclip')),
        Row('NACLIP', NO_POST, **method('naclip'), remark=f'{WINDOWS}, as the row "NACLIP, VOC whole" does'),
        Row('NACLIP, VOC whole', NO_POST, **method('official/naclip', model__refine=None)),
        *(cited(name, post) for name in ('ReCo', 'TCL', 'FreeSeg-Diff', 'FOSSIL', 'PnP-OVSS')),
        Row('SCLIP', 'post=pamr', **with_pamr('sclip'), remark="its PAMR settings are not printed; NACLIP's are taken"),
        Row('NACLIP', 'post=pamr', **method('official/naclip')),
    )
    table2 = [
        row
        for backbone in ('ViT-B/16', 'ViT-B/32', 'ViT-L/14')
        for row in (
            Row('SCLIP', f'backbone={backbone};post=pamr', **with_pamr('sclip', **BACKBONES[backbone])),
            Row('GEM', f'backbone={backbone};post=none', **method('gem', **BACKBONES[backbone])),
            Row('NACLIP', f'backbone={backbone};post=pamr', **method('official/naclip', **BACKBONES[backbone])),
        )
    ]
    attentions = {
        'Vanilla': 'vanilla',
        'N-Only': 'nonly',
        'N-Only, unscaled': 'gaussian',
        'KK-Sim': 'kk',
        'Vanilla + Gaussian': 'qk_gaussian',
        'A-tilde (KK + Gaussian)': 'naclip',
    }
    remarks = {
        'nonly': "the Gaussian scaled as in the authors' code",
        'gaussian': 'eq. 12 as the paper writes it, which prints no values of its own for it',
        'qk_gaussian': 'eq. 13, of which the paper prints no values',
    }
    table3 = (
        Row(
            name,
            'arch=vanilla;post=none',
            **method('naclip', model__arch='vanilla', model__attention=attention),
            remark=remarks.get(attention, ''),
        )
        for name, attention in attentions.items()
    )
    table4 = (
        Row(
            arch.capitalize(),
            'attn=vanilla;post=none',
            **method('naclip', model__arch=arch, model__attention='vanilla'),
        )
        for arch in ('vanilla', 'reduced')
    )
    sigmas = range(1, 11)
    table5 = (
        Row(f'sigma={sigma}', f'tau={tau}', closed_form=patches_above) for sigma in sigmas for tau in (0.7, 0.8, 0.9)
    )
    figure = [Row(f'sigma={sigma}', NO_POST, **method('naclip', model__sigma=sigma)) for sigma in sigmas]
    figure += [Row(f'sigma={sigma}', 'post=pamr', **method('official/naclip', model__sigma=sigma)) for sigma in sigmas]
    return [
        TableSpec(
            'naclip/table1',
            'training-free methods on the eight benchmarks',
            table1,
            note=f'Rows without post-processing follow the common protocol. {WHOLE} "Fair" is the paper\'s: without '
            'knowledge beyond CLIP.',
        ),
        TableSpec(
            'naclip/table2',
            'backbones',
            tuple(table2),
            note=f"{WHOLE} SCLIP, whose PAMR settings are not printed, has NACLIP's, and windows on VOC as in its "
            "own code; GEM's values are quoted from its own paper, here under the common protocol.",
        ),
        TableSpec('naclip/table3', 'attention, in the vanilla architecture', tuple(table3), note=f'{WINDOWS}.'),
        TableSpec('naclip/table4', 'architecture, with vanilla attention', tuple(table4), note=f'{WINDOWS}.'),
        TableSpec('naclip/table5', 'patches whose attention logits are raised by more than tau', tuple(table5)),
        TableSpec(
            'naclip/sigma',
            "the Gaussian's deviation (Figure 5)",
            tuple(figure),
            ('voc21', 'pc60', 'coco_object', 'voc20', 'cityscapes', 'pc59', 'ade20k', 'coco_stuff'),
            note=f'The paper prints no numbers, only curves. Without post-processing: {WINDOWS}. {WHOLE}',
        ),
    ]
