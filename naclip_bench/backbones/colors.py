"""Mean and deviation of the colors that weights were trained with: images must be normalized with no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import open_clip
from open_clip.constants import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    INCEPTION_MEAN,
    INCEPTION_STD,
    OPENAI_DATASET_MEAN,
    OPENAI_DATASET_STD,
)
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from ..errors import BenchError, did_you_mean

#: Mean and deviation in 0..1, each of red, green and blue.
Colors = tuple[tuple[float, ...], tuple[float, ...]]

#: Those of OpenAI's weights, and of most others.
OPENAI: Colors = (tuple(OPENAI_DATASET_MEAN), tuple(OPENAI_DATASET_STD))

#: What the setting ``colors`` takes by name.
NAMED: dict[str, Colors] = {
    'openai': OPENAI,
    'imagenet': (tuple(IMAGENET_MEAN), tuple(IMAGENET_STD)),
    'inception': (tuple(INCEPTION_MEAN), tuple(INCEPTION_STD)),
}


def parse_colors(value: str | Sequence[float | Sequence[float]]) -> Colors:
    """Read colors from a name or a pair (mean, deviation) in 0..1, each a number or one a channel.

        parse_colors('inception') == parse_colors((0.5, 0.5)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    Raises:
        BenchError: an unknown name, or no such pair.
    """
    if isinstance(value, str):
        if value not in NAMED:
            raise BenchError(f'colors: unknown name "{value}"{did_you_mean(value, NAMED)}')
        return NAMED[value]
    try:
        mean, deviation = (
            tuple(float(channel) for channel in (part if isinstance(part, Sequence) else [part] * 3)) for part in value
        )
        fits = (
            len(mean) == len(deviation) == 3 and all(0 <= x <= 1 for x in mean) and all(0 < x <= 1 for x in deviation)
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise BenchError(
            f'colors: {value!r} is no mean and deviation in 0..1 of red, green and blue such as {NAMED["imagenet"]}, '
            f'and none of {", ".join(NAMED)}'
        )
    return mean, deviation


def described_colors(described: Mapping) -> Colors:
    """Colors of a tag's entry or of a ``preprocess_cfg``; what is left out is OpenAI's, as in open_clip."""
    return parse_colors([described.get(key) or default for key, default in zip(('mean', 'std'), OPENAI, strict=True)])


def colors_of_architecture(arch: str, config: Mapping, weights: str) -> Colors:
    """Colors of a file that does not tell them, if all weights that open_clip knows for its model share them.

    Args:
        arch: what messages call the model.
        config: its open_clip model config; other image sizes of it count as the same model.
        weights: what messages call the file.

    Raises:
        BenchError: they differ; says which setting to give.
    """
    known = {
        f'{name} {tag}': described_colors(get_pretrained_cfg(name, tag))
        for name in open_clip.list_models()
        if _of_any_size(open_clip.get_model_config(name)) == _of_any_size(config)
        for tag in list_pretrained_tags_by_model(name)
    }
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    other = next((name for name, colors in known.items() if colors != OPENAI), None)
    if other:
        raise BenchError(
            f'pretrained: {weights} does not tell the mean and deviation of the colors it was trained with, and those '
            f"of {arch} differ in them ({other}: {_written(known[other])}, others OpenAI's): set model.backbone.colors "
            f'to one of {", ".join(NAMED)}, or to a pair (mean, deviation)'
        )
    return OPENAI


def _of_any_size(config: Mapping) -> dict:
    return {**config, 'vision_cfg': {**config['vision_cfg'], 'image_size': None}}


def _written(colors: Colors) -> str:
    return next((name for name, known in NAMED.items() if known == colors), str(colors))
