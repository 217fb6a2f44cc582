"""Words that the papers' rows are said in: a method's config with some settings changed."""

from __future__ import annotations

PAMR = {'model.refine.iterations': 10, 'model.refine.dilations': (8, 16)}
TRAINED = 'needs training'
OTHER_MODELS = 'needs models besides CLIP'
NO_POST = 'post=none'


def runs(config: str, **overrides: object) -> dict[str, object]:
    """Config and overrides; ``model__arch=...`` stands for ``model.arch``."""
    return dict(config=config, overrides={key.replace('__', '.'): value for key, value in overrides.items()})


def method(key: str, **overrides: object) -> dict[str, object]:
    return runs(f'{key}_{{dataset}}', **overrides)


def with_pamr(key: str, **overrides: object) -> dict[str, object]:
    found = method(key, **overrides)
    found['overrides'] |= PAMR
    return found


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
