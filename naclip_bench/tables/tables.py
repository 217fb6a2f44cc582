"""What each row of each table stands for: a config and settings to run, a closed form, or a system that is cited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..configuration import parse_settings
from ..errors import BenchError, did_you_mean
from .closed_forms import patches_above
from .papers import Value, of_table


@dataclass(frozen=True, eq=False)
class Row:
    """A row, by its name and settings in ``papers.csv``.

    Attributes:
        name, settings: of the paper's row.
        config: name of a config with ``{dataset}`` in it; None where there is nothing to run.
        overrides: settings changed in it, by their dotted names.
        closed_form: computes a value without running anything.
        cited: why the row is not run.
    """

    name: str
    settings: str = ''
    config: str | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    closed_form: Callable[[Value], float] | None = None
    cited: str = ''


@dataclass(frozen=True)
class TableSpec:
    """A table of a paper.

    Attributes:
        key: ``naclip/table1``.
        title: what it is about.
        rows: in the paper's order.
        datasets: of a table whose values no paper prints; else those of its values.
        note: what a reader must know of how our column comes about.
        mean: a mean over the datasets says something.
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...] = ()
    note: str = ''
    mean: bool = True

    def values(self) -> list[Value]:
        return of_table(*self.key.split('/'))

    def conditions(self, row: Row) -> str:
        """A row's settings as a reader sees them, ``train=no, size=336``; empty where they tell no rows apart."""
        if len({other.settings for other in self.rows}) == 1:
            return ''
        return ', '.join(part.strip() for part in row.settings.split(';'))

    def label(self, row: Row) -> str:
        """What a row is called: its name, and its conditions behind it."""
        return f'{row.name} {self.conditions(row)}'.strip()

    def calls(self, row: Row, wanted: str) -> bool:
        """``wanted`` is the row's name or label, or either behind the table's key, whatever its case."""
        names = (row.name, self.label(row))
        return wanted.lower() in {text.lower() for name in names for text in (name, f'{self.key} {name}')}

    def columns(self) -> list[tuple[str, str]]:
        """(dataset, metric) of each column, in the paper's order."""
        printed = dict.fromkeys((value.dataset, value.metric) for value in self.values())
        return list(printed) or [(dataset, 'mIoU') for dataset in self.datasets]


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

PAMR = {'model.refine.iterations': 10, 'model.refine.dilations': (8, 16)}
TRAINED = 'needs training'
OTHER_MODELS = 'needs models besides CLIP'
NO_POST = 'post=none'


def _runs(config: str, **overrides: object) -> dict[str, object]:
    """Config and overrides; ``model__arch=...`` stands for ``model.arch``."""
    return dict(config=config, overrides={key.replace('__', '.'): value for key, value in overrides.items()})


def _method(key: str, **overrides: object) -> dict[str, object]:
    return _runs(f'{key}_{{dataset}}', **overrides)


def _with_pamr(key: str, **overrides: object) -> dict[str, object]:
    runs = _method(key, **overrides)
    runs['overrides'] |= PAMR
    return runs


def _weights(arch: str, pretrained: str = 'openai') -> dict[str, object]:
    return dict(model__backbone__arch=arch, model__backbone__pretrained=pretrained)


def _sizes(short_side: int, window: int, stride: int) -> dict[str, object]:
    return dict(
        test_dataloader__dataset__pipeline__1__scale=(2048, short_side), model__window=window, model__stride=stride
    )


#: Architectures of Tables 2 and 6 by the papers' names.
BACKBONES = {
    'ViT-B/16': _weights('ViT-B-16-quickgelu'),
    'ViT-B/32': _weights('ViT-B-32-quickgelu'),
    'ViT-L/14': _weights('ViT-L-14-quickgelu'),
    'OpenCLIP': _weights('ViT-B-16', 'laion2b_s34b_b88k'),
    'MetaCLIP': _weights('ViT-B-16-quickgelu', 'metaclip_fullcc'),
}


def _naclip() -> list[TableSpec]:
    cited = {
        'GroupViT': TRAINED,
        'CLIP-DIY': OTHER_MODELS,
        'ReCo': OTHER_MODELS,
        'TCL': TRAINED,
        'FreeSeg-Diff': OTHER_MODELS,
        'FOSSIL': OTHER_MODELS,
        'PnP-OVSS': OTHER_MODELS,
    }
    post = 'post=yes'
    table1 = (
        Row('CLIP', NO_POST, **_method('clip')),
        Row('MaskCLIP', NO_POST, **_method('maskclip')),
        Row('GroupViT', NO_POST, cited=cited['GroupViT']),
        Row('CLIP Surgery', NO_POST, **_method('clip_surgery')),
        Row('CLIP-DIY', NO_POST, cited=cited['CLIP-DIY']),
        Row('GEM', NO_POST, **_method('gem')),
        Row('SCLIP', NO_POST, **_method('sclip')),
        Row('NACLIP', NO_POST, **_method('naclip')),
        *(Row(name, post, cited=cited[name]) for name in ('ReCo', 'TCL', 'FreeSeg-Diff', 'FOSSIL', 'PnP-OVSS')),
        Row('SCLIP', 'post=pamr', **_with_pamr('sclip')),
        Row('NACLIP', 'post=pamr', **_method('official/naclip')),
    )
    table2 = [
        row
        for backbone in ('ViT-B/16', 'ViT-B/32', 'ViT-L/14')
        for row in (
            Row('SCLIP', f'backbone={backbone};post=pamr', **_with_pamr('sclip', **BACKBONES[backbone])),
            Row('GEM', f'backbone={backbone};post=none', **_method('gem', **BACKBONES[backbone])),
            Row('NACLIP', f'backbone={backbone};post=pamr', **_method('official/naclip', **BACKBONES[backbone])),
        )
    ]
    attentions = {'Vanilla': 'vanilla', 'N-Only': 'nonly', 'KK-Sim': 'kk', 'A-tilde (KK + Gaussian)': 'naclip'}
    table3 = (
        Row(name, 'arch=vanilla;post=none', **_method('naclip', model__arch='vanilla', model__attention=attention))
        for name, attention in attentions.items()
    )
    table4 = (
        Row(
            arch.capitalize(),
            'attn=vanilla;post=none',
            **_method('naclip', model__arch=arch, model__attention='vanilla'),
        )
        for arch in ('vanilla', 'reduced')
    )
    sigmas = range(1, 11)
    table5 = (
        Row(f'sigma={sigma}', f'tau={tau}', closed_form=patches_above) for sigma in sigmas for tau in (0.7, 0.8, 0.9)
    )
    figure = [Row(f'sigma={sigma}', NO_POST, **_method('naclip', model__sigma=sigma)) for sigma in sigmas]
    figure += [Row(f'sigma={sigma}', 'post=pamr', **_with_pamr('naclip', model__sigma=sigma)) for sigma in sigmas]
    return [
        TableSpec(
            'naclip/table1',
            'training-free methods on the eight benchmarks',
            table1,
            note='Rows without post-processing follow the common protocol; NACLIP with PAMR is what its authors run, '
            'VOC on whole images.',
        ),
        TableSpec('naclip/table2', 'backbones', tuple(table2)),
        TableSpec('naclip/table3', 'attention, in the vanilla architecture', tuple(table3)),
        TableSpec('naclip/table4', 'architecture, with vanilla attention', tuple(table4)),
        TableSpec('naclip/table5', 'patches whose attention logits are raised by more than tau', tuple(table5)),
        TableSpec(
            'naclip/sigma',
            "the Gaussian's deviation (Figure 5)",
            tuple(figure),
            ('voc21', 'pc60', 'coco_object', 'voc20', 'cityscapes', 'pc59', 'ade20k', 'coco_stuff'),
            note='The paper prints no numbers, only curves.',
        ),
    ]


def _sclip() -> list[TableSpec]:
    trained = ('GroupViT', 'ReCo', 'TCL')
    table1 = (
        Row('CLIP', NO_POST, **_method('clip')),
        Row('MaskCLIP', NO_POST, **_method('maskclip')),
        *(Row(name, NO_POST, cited=OTHER_MODELS if name == 'ReCo' else TRAINED) for name in trained),
        Row('CLIP Surgery', NO_POST, **_method('clip_surgery')),
        Row('OVSegmentor', NO_POST, cited=TRAINED),
        Row('SegCLIP', NO_POST, cited=TRAINED),
        Row('SCLIP', NO_POST, **_method('sclip')),
        Row('CLIP', 'post=pamr', **_with_pamr('clip')),
        Row('MaskCLIP', 'post=pamr', **_with_pamr('maskclip')),
        *(Row(name, 'post=pamr', cited=OTHER_MODELS if name == 'ReCo' else TRAINED) for name in trained),
        Row('SCLIP', 'post=pamr', **_with_pamr('sclip')),
    )
    projections = {
        'Identity projection': dict(model__attention='identity'),
        'W_q projection': dict(model__attention='q'),
        'W_k projection': dict(model__attention='k'),
        **{f'Random projection n={n}': dict(model__attention='random', model__projections=n) for n in (1, 4, 16)},
        'Default': {},
    }
    table2 = [Row(name, 'csa projection', **_method('sclip', **changed)) for name, changed in projections.items()]
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
            tuple(Row(name, 'alternatives', **_method('sclip', **changed)) for name, changed in alternatives.items()),
        ),
        TableSpec(
            'sclip/table4',
            'sizes of image, window and stride',
            tuple(
                Row(
                    f'#{number} short={short} window={window} stride={stride}',
                    'image pre-processing',
                    **_method('sclip', **_sizes(short, window, stride)),
                )
                for number, (short, window, stride) in enumerate(sizes, 1)
            ),
        ),
    ]


def _cliptrase() -> list[TableSpec]:
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
        Row('CLIP', 'train=no;size=336', **_method('official/cliptrase', **clip)),
        Row('CLIP Surgery', 'train=no', cited='under its own protocol'),
        Row('SCLIP', 'train=no;size=336', **_method('official/cliptrase', **sclip)),
        Row('CLIPtrase', 'train=no;size=336', **_method('official/cliptrase')),
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
    table2 = [Row(name, 'size=224', **_runs(small, **changed)) for name, changed in ablation.items()]
    table2 += [Row('Image size: 336', 'size=224', **_method('official/cliptrase'))]
    table2 += [Row(f'Layer: {layer}', 'size=224', **_runs(small, model__layer=layer)) for layer in (9, 10, 11, 12)]
    no_code = 'its code was not released'
    table4 = [
        Row('w/o SCR', 'size=224', **_runs(small, **clip)),
        *(
            Row(name, 'size=224', cited=no_code)
            for name in ('<x_i,x_i>', '<x_i,x_j>', 'COS(x_i,x_j)', 'COS(x_i,x_j), j in GT')
        ),
        Row('CLIPtrase (inner product SCR)', 'size=224', **_runs(small, model__correlation='product')),
        Row('CLIPtrase (cosine SCR)', 'size=224', **_runs(small)),
    ]
    sizes = {224: small, 336: 'official/cliptrase_{dataset}'}
    by_size = {
        size: tuple(
            Row(name, f'size={size}', **_runs(config, **changed))
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
                Row('CLIP', 'size=336', **_method('official/cliptrase', **clip)),
                Row('SCR+PC+D', 'size=336', **_method('official/cliptrase')),
                Row('SCR+D+SAM', 'size=336', cited=OTHER_MODELS),
            ),
        ),
        TableSpec('cliptrase/table4', 'forms of the correlation', tuple(table4)),
        TableSpec(
            'cliptrase/table5',
            'clusters of DINOv2',
            (
                Row('CLIPtrase + DINOv2', 'size=224', cited=OTHER_MODELS),
                Row('CLIPtrase', 'size=224', **_runs(small)),
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


def _gclip() -> list[TableSpec]:
    ours, trained, other = 'setting=TF-OVSS', 'setting=T-OVSS', 'setting=USS'
    methods = {
        'CLIP': _method('clip'),
        'MaskCLIP': _method('maskclip'),
        'CLIP Surgery': _method('clip_surgery'),
        'GEM': _method('gem'),
        'SCLIP': _method('sclip'),
        'CLIPtrase': _method('official/cliptrase'),
        'ClearCLIP': _method('clearclip'),
        'ClearCLIP + CS': _method('gclip', model__fuse_following=None),
        'GCLIP': _method('gclip'),
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
            tuple(
                Row(f'l={depth}', 'AMF depth', **_method('gclip', model__fuse_following=depth)) for depth in range(5)
            ),
        ),
        TableSpec(
            'gclip/table3',
            'first block of channel suppression',
            tuple(
                Row(
                    f'CS from block {block}',
                    f'weight-norm entropy={entropy}; CS only',
                    **_method('gclip', model__fuse_following=None, model__suppress_from=block),
                )
                for block, entropy in entropies.items()
            ),
        ),
        TableSpec(
            'gclip/table4',
            'what is fused',
            (
                Row('[CLS] attention', 'fusion source', **_method('gclip', model__fused='cls')),
                Row('AMF', 'fusion source', **_method('gclip')),
            ),
        ),
        TableSpec(
            'gclip/table5',
            'agreement of tokens with [CLS] in zero-shot classification',
            tuple(
                Row(
                    name,
                    'agreement with [CLS] classification',
                    **_runs('gclip_{dataset}', **AS_CLASSIFIED, model__token=name.lower()),
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
                Row(name, f'backbone={backbone}', **_method(key, **BACKBONES[backbone]))
                for backbone in ('OpenCLIP', 'MetaCLIP')
                for name, key in (('CLIP', 'clip'), ('ClearCLIP', 'clearclip'), ('GCLIP', 'gclip'))
            ),
        ),
    ]


def _materials() -> list[TableSpec]:
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
    }
    return [
        TableSpec(
            'materials/methods',
            'every method on images drawn by code, with a tiny CLIP that comes along',
            tuple(Row(name, **_method(key)) for name, key in methods.items()),
            ('materials24', 'materials25'),
            note='A stand-in for checking and learning: no number here is a number of any paper.',
            mean=False,
        )
    ]


def table_of_methods(methods: Sequence[str], datasets: Sequence[str]) -> TableSpec:
    """A table that no paper has: each of ``methods`` on each of ``datasets``, by their names."""
    rows = tuple(Row(method, config=f'{method}_{{dataset}}') for method in methods)
    return TableSpec('own/methods', 'methods that were asked for', rows, tuple(datasets), mean=len(datasets) > 1)


def with_rows(table: TableSpec, added: Sequence[Sequence[str]]) -> TableSpec:
    """Add rows to a table: each a method's name, and settings of it as ``KEY=VALUE``.

    with_rows(find_table('naclip/table1'), [['naclip', 'model.sigma=3']])
    """
    rows = tuple(
        Row(method, ' '.join(settings), f'{method}_{{dataset}}', parse_settings(settings))
        for method, *settings in added
    )
    return replace(table, rows=(*table.rows, *rows))


#: Every table by its key.
TABLES = {spec.key: spec for spec in [*_naclip(), *_sclip(), *_cliptrase(), *_gclip(), *_materials()]}


def find_table(key: str) -> TableSpec:
    """The table ``naclip/table1``.

    Raises:
        BenchError: there is none; says what comes close.
    """
    if key not in TABLES:
        raise BenchError(f'there is no table {key}{did_you_mean(key, TABLES)}')
    return TABLES[key]


def find_tables(keys: Sequence[str]) -> list[TableSpec]:
    """The tables that ``keys`` name, each once; every one there is where one of them is ``all``."""
    if 'all' in keys:
        return list(TABLES.values())
    return list({key: find_table(key) for key in keys}.values())
