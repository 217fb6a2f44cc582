"""What captions say of a scene: which materials it shows and perhaps on what ground, never where or how much."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from .scene import BACKDROPS, TEXTURES, Scene
from .textures import GROUNDS, MATERIALS

#: How often a caption names the ground too.
NAMED_GROUND = 0.4


def caption(rng: Generator, scene: Scene) -> str:
    """A caption such as "a good photo of bricks, lava and lawn on paper.", in one of OpenAI's 80 templates."""
    words = [str(rng.choice(MATERIALS[TEXTURES[index]])) for index in rng.permutation(scene.seen())]
    ground = GROUNDS[BACKDROPS[scene.ground]]
    text = enumerate_words(words) if words else ground
    if words and rng.random() < NAMED_GROUND:
        text += f' on {ground}'
    return OPENAI_IMAGENET_TEMPLATES[rng.integers(len(OPENAI_IMAGENET_TEMPLATES))](text)


def enumerate_words(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return ' and '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)
