"""Words that the papers' rows are said in: a method's config with some settings changed, or why a system is cited."""

from __future__ import annotations

from ..spec import Row

PAMR = {'model.refine.iterations': 10, 'model.refine.dilations': (8, 16)}
NO_POST = 'post=none'

#: Of rows of which a paper's value is another paper's.
QUOTED = 'quoted from its own paper, which has a protocol of its own; here the common one'

CAPTIONS = 'trained on images with captions'
MASKS = 'trained on images with masks'
UNLABELED = "trained on the dataset's own images, without labels"

#: Systems that the papers compare with and the suite does not run: it runs what adapts a frozen CLIP without training.
CITED = {
    'CAT-Seg': MASKS,
    'CLIP-DIY': 'needs a model of salient objects',
    'CLIP-S4': UNLABELED,
    'CoCu': CAPTIONS,
    'DeOP': MASKS,
    'FOSSIL': 'needs a diffusion model',
    'FreeSeg-Diff': 'needs a diffusion model',
    'GroupViT': CAPTIONS,
    'HP': UNLABELED,
    'MaskCLIP+': UNLABELED,
    'OVSeg': MASKS,
    'OVSegmentor': CAPTIONS,
    'PiCIE': UNLABELED,
    'PnP-OVSS': 'needs a vision-language model with cross-attention in place of CLIP',
    'ReCLIP': UNLABELED,
    'ReCo': 'needs another backbone and unlabeled reference images',
    'SAN': MASKS,
    'STEGO': UNLABELED,
    'SegCLIP': CAPTIONS,
    'SmooSeg': UNLABELED,
    'TCL': CAPTIONS,
}


def cited(name: str, settings: str) -> Row:
    return Row(name, settings, cited=CITED[name])


def runs(config: str, **overrides: object) -> dict[str, object]:
    """Config and overrides; ``model__arch=...`` stands for ``model.arch``."""
    return dict(config=config, overrides={key.replace('__', '.'): value for key, value in overrides.items()})


def method(key: str, **overrides: object) -> dict[str, object]:
    return runs(f'{key}_{{dataset}}', **overrides)


def with_pamr(key: str, **overrides: object) -> dict[str, object]:
    found = method(key, **overrides)
    found['overrides'] |= PAMR
    return found


def one_name(run: dict[str, object]) -> dict[str, object]:
    """A run with one name a class: VOC20 is the only one of GCLIP's benchmarks whose common names are several."""
    return run | dict(on={'voc20': {'model.class_names': 'clearclip_voc20'}})


def weights(arch: str, pretrained: str = 'openai') -> dict[str, object]:
    return dict(model__backbone__arch=arch, model__backbone__pretrained=pretrained)


def at_sizes(short_side: int, window: int, stride: int) -> dict[str, object]:
    return dict(
        test_dataloader__dataset__pipeline__1__scale=(2048, short_side), model__window=window, model__stride=stride
    )


#: Architectures of Tables 2 and 6 by the papers' names.
BACKBONES = {
    'ViT-B/16': weights('ViT-B-16-quickgelu'),
    'ViT-B/32': weights('ViT-B-32-quickgelu'),
    'ViT-L/14': weights('ViT-L-14-quickgelu'),
    'OpenCLIP': weights('ViT-B-16', 'laion2b_s34b_b88k'),
    'MetaCLIP': weights('ViT-B-16-quickgelu', 'metaclip_fullcc'),
}
