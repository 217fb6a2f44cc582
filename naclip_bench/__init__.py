"""naclip_bench: training-free open-vocabulary semantic segmentation, measured under one protocol.

naclip_bench.list_methods()     # ['clearclip', 'clip', ...]
naclip_bench.list_datasets()    # ['ade20k', 'ade847', ...]
naclip_bench.Segmenter('naclip', ['dog', 'boat', 'water'], background=True)('photo.jpg').save('out.png')
"""

from importlib import import_module

__version__ = '0.1.0'

#: What the package offers beside its modules, and where it lies; imported when it is asked for, as torch takes seconds.
_PLACES = {'Segmenter': 'segment', 'list_datasets': 'catalog', 'list_methods': 'catalog'}

__all__ = ['__version__', *_PLACES]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_PLACES[name]}', __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
