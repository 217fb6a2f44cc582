"""What every helper is: a frozen model with known weights, asked for features, affinity, regions or masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

from mmseg.registry import MODELS
from torch import Tensor, nn

from ..configuration import HELPERS
from ..errors import BenchError, did_you_mean
from ..settings import resolved_settings

__all__ = ['HELPERS', 'Affinity', 'Helper', 'Look', 'build_helper']


class Look:
    """What a helper made of a batch of images, up to where kinds of features part."""

    @abstractmethod
    def features(self, kind: str) -> Tensor:
        """Patch features (N, C, h, w) in fp32; see :meth:`Helper.features`."""


@dataclass(frozen=True)
class Affinity:
    """Attention between the places of an image, head by head: all heads at once would fill the memory.

    Attributes:
        grid: (h, w) places.
        values: (heads, h * w, d) what each place gives to others, in fp32.
        attention: gives the weights (h * w, h * w) of one head, in fp32; rows need not sum to 1.
        inner: (h, w) pixels that the image has in the square that the model sees.
        embedding: runs the rest of the model: what its decoder needs, (1, C, rows, columns) of the square.
    """

    grid: tuple[int, int]
    values: Tensor
    attention: Callable[[int], Tensor]
    inner: tuple[int, int] = (0, 0)
    embedding: Callable[[], Tensor] | None = None


class Helper(nn.Module):
    """A frozen model that methods look at beside CLIP; a subclass gives some of it, and says the attributes.

    Images are RGB in 0..1: each helper has its own colors, size and precision, and brings images to them by itself.

    Attributes:
        arch: what the weights are of.
        weights_name: their tag, the file's name, or ``random``.
        weights_hash: sha256 of all parameters in float32, whatever file they came from.
        random_weights: the weights mean nothing.
        modules: modules whose version can move a number.
    """

    arch: str
    weights_name: str
    weights_hash: str
    random_weights: bool
    modules: tuple[str, ...] = ()

    def look(self, images: Tensor) -> Look:
        """Run the model on images (N, 3, H, W), as far as all kinds of features go together.

        Raises:
            BenchError: the helper gives no features.
        """
        raise self._not_given('features')

    def features(self, images: Tensor, kind: str = 'tokens') -> Tensor:
        """Patch features of images.

        Args:
            images: (N, 3, H, W) RGB in 0..1.
            kind: ``tokens`` (the output, normalized by the model's last layer), or ``q``, ``k``, ``v`` of the last
                block, heads side by side.

        Returns:
            (N, C, h, w) in fp32, not of unit length.

        Raises:
            BenchError: the helper gives none, or not of this kind.
        """
        return self.look(images).features(kind)

    def affinity(self, image: Tensor) -> Affinity:
        """How much each place of an image (3, H, W) takes from each other.

        Raises:
            BenchError: the helper does not tell.
        """
        raise self._not_given('affinity')

    def regions(self, image: Tensor) -> Tensor:
        """Region map (H, W) int64 of an image (3, H, W); 0 where there is none.

        Raises:
            BenchError: the helper finds no regions.
        """
        raise self._not_given('regions')

    def of_image(
        self, image: Tensor, size: tuple[int, int], path: str | None = None, original: Tensor | None = None
    ) -> object:
        """What a method needs of a whole image; told once an image, whatever its windows.

        Args:
            image: (3, h, w) RGB in 0..1, the image as methods have it; looked at where there is no file.
            size: (H, W) of the original image.
            path: of the original image; a name that is no file's says nothing, as that of an image drawn by code.
            original: (3, H, W) RGB in 0..1, the original image where it has been read, which need not be as runs do.

        Raises:
            BenchError: the helper sees windows alone.
        """
        raise self._not_given('of_image')

    @classmethod
    def check(cls, settings: Mapping[str, object]) -> None:
        """See that what the settings ask for is here, fetched where it must be.

        Raises:
            BenchError: it cannot be had.
        """

    @property
    def key(self) -> dict[str, object]:
        """Everything of the helper that decides a number."""
        return {'type': type(self).__name__, 'arch': self.arch, 'sha256': self.weights_hash}

    def _not_given(self, what: str) -> BenchError:
        able = [name for name, cls in helper_types().items() if getattr(cls, what) is not getattr(Helper, what)]
        return BenchError(f'the helper {type(self).__name__} gives no {what}{did_you_mean("", able)}')


def helper_types() -> dict[str, type[Helper]]:
    """Every kind of helper, by its name in a config."""
    found, registry = {}, MODELS
    while registry is not None:
        found = {**registry.module_dict, **found}
        registry = registry.parent
    return {name: cls for name, cls in found.items() if isinstance(cls, type) and issubclass(cls, Helper)}


def helper_type(where: str, settings: Mapping[str, object]) -> type[Helper]:
    """Find the kind of helper that settings ask for, and check them against it.

    Args:
        where: what they stand in, for the message: ``model.helper``.

    Raises:
        BenchError: there is none, or a setting does not fit.
    """
    if not isinstance(settings, Mapping):
        raise BenchError(f'{where} is {settings!r}; it must be a group of settings with a type')
    name, known = settings.get('type'), helper_types()
    if name not in known:
        raise BenchError(f'{where}.type is {name!r}, which is no helper{did_you_mean(str(name), known)}')
    resolved_settings(where, known[name], {key: value for key, value in settings.items() if key != 'type'})
    return known[name]


def build_helper(
    settings: Helper | Mapping[str, object], where: str = 'model.helper', known: MutableMapping | None = None
) -> Helper:
    """Build a helper, or take the one that was built with the same settings.

    Args:
        settings: ``dict(type='ViT', ...)``, or a helper, which is returned as it is.
        where: what they stand in, for messages.
        known: helpers by settings; what is built is added.

    Raises:
        BenchError: the settings do not fit, or the weights cannot be had.
    """
    if isinstance(settings, Helper):
        return settings
    kind = helper_type(where, settings)
    own = {key: value for key, value in settings.items() if key != 'type'}
    known = {} if known is None else known
    key = repr((kind.__name__, sorted(resolved_settings(where, kind, own).items())))
    if key not in known:
        known[key] = kind(**own).eval().requires_grad_(False)
    return known[key]
