"""A method, weights and words as one object that is called with images."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor

from .. import __version__
from ..backbones import FrozenCLIP
from ..backbones.fetching import AbsentWeightsError
from ..backbones.text import too_long
from ..configuration import load_config, load_pair, method_bases, method_config, register
from ..errors import BenchError
from ..evaluation.config_check import check_config
from ..evaluation.key import SPEED, key_of, source_digest
from ..json_files import plain
from ..methods.base import TrainingFreeSegmentor
from ..precision import AUTO, precision_for
from ..settings import resolved_settings
from ..vocabulary import Vocabulary, names_of
from .devices import device_of
from .inputs import picture_of
from .result import Segmentation
from .running import segment_pictures
from .words import Classes, Words

#: Weights that come along, for trying things out; and the dataset whose configs have what suits them.
TINY, TINY_DATASET = 'materials', 'materials25'

#: The dataset that lends a method its configuration: the common protocol.
COMMON_DATASET = 'voc20'

#: Class-name files whose first line is what a background is made of where nothing else is said.
USUAL = {TINY: 'materials25'}
USUAL_BACKGROUND = 'voc21'

#: Images that go through the model together.
BATCH = 8


class Segmenter:
    """Segment images with words of one's own.

        segmenter = Segmenter('naclip', ['dog, puppy', 'boat', 'water'], background=True)
        result = segmenter('photo.jpg')
        result.labels, result.names                 # (H, W) uint8, and what each label means
        segmenter.classes = ['sky', 'sand']         # nothing is loaded again

    The labels are those of ``naclip-bench test`` with the same method, weights, words and thresholds.

    Args:
        method: name of a method (``naclip``, ``sclip``, ...; see :func:`naclip_bench.list_methods`), under the common
            protocol; or name or path of a config (``official/naclip_voc21``), which brings its own settings.
        classes: the words; see :func:`naclip_bench.segment.words.parse_classes`. May be left out where ``method`` is a
            config, which has class names.
        background: add a class, the first, for all that is none of the words: True for the words that Pascal VOC's
            background has in this field, or words of one's own.
        threshold: probability under which a pixel is background: one, or by class name. None: 0.1 as in the common
            protocol, or what the config says. Needs a background.
        weights: tag of open_clip, a local file, ``materials`` for the tiny CLIP that comes along, or ``none`` for
            random ones. None: what the method's config says, OpenAI's.
        arch: open_clip's name of the architecture where the weights are of another one than ``ViT-B-16-quickgelu``.
        precision: ``fp32``, ``bf16`` or ``fp16`` of the vision tower, or ``auto``: what the device is made for.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``xpu``.
        short_side: pixels to which an image's short side is resized; None: what the protocol says (336, its long side
            at most 2048); ``original``: not resized. Large images are worked on in tiles.
        templates: name of a set of prompt templates or a list of one's own, each with a ``{}``, in any language that
            the weights know.
        settings: any other setting of the config by its dotted name: ``{'model.stride': 56}``.

    Attributes:
        names: what each label stands for.

    Raises:
        BenchError: there is no such method, weights, device or setting, or something is wrong with the words.
    """

    def __init__(
        self,
        method: str = 'naclip',
        classes: Classes | None = None,
        *,
        background: bool | Sequence[str] = False,
        threshold: float | Mapping[str, float] | None = None,
        weights: str | Path | None = None,
        arch: str | None = None,
        precision: str | None = None,
        device: str | torch.device = 'auto',
        short_side: int | str | None = None,
        templates: str | Sequence[str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        register()
        self.asked = dict(
            method=method, background=background, threshold=threshold, weights=weights, arch=arch,
            precision=precision, short_side=short_side, templates=templates, settings=dict(settings or {}),
        )  # fmt: skip
        self.device = device_of(device)
        if precision == AUTO:
            self.asked['precision'] = precision_for(self.device.type)
        self._config = self._configured(method)
        if classes is None and method in method_bases():
            raise BenchError('there are no words; give some, as "dog, boat, water"')
        self._size = _size_of(self._config, short_side)
        self._words: Words | None = None
        self._take(classes)
        self.member = self._built(None)
        self._dress()

    # ---- what it is

    def _configured(self, method: str) -> Config:
        weights, settings = self.asked['weights'], dict(self.asked['settings'])
        given = (None, None if weights is None else str(weights), self.asked['precision'], settings or None)
        if method in method_bases():
            config = load_pair(method, TINY_DATASET if str(weights) == TINY else COMMON_DATASET, *given)
        else:
            config = load_config(method_config(method), *given)
        if self.asked['arch'] is not None:
            config.model.backbone.arch = str(self.asked['arch'])
        check_config(config)
        return config

    def _built(self, backbone: FrozenCLIP | None) -> TrainingFreeSegmentor:
        model = dict(self._config.model, **({} if backbone is None else {'backbone': backbone}))
        try:
            return MODELS.build(model).eval().to(self.device)
        except AbsentWeightsError as error:
            if str(self.asked['weights']) == TINY:
                raise  # a helper's are absent
            raise AbsentWeightsError(
                f'{error}; or, to try things out, weights "{TINY}", a tiny CLIP that comes along'
            ) from None

    def _take(self, classes: Classes | None) -> None:
        """Look at the words, before anything is loaded."""
        model = self._config.model
        templates = self.asked['templates'] or model.get('templates', 'openai_80')
        if classes is None and self.asked['background'] is False:
            self._words, self._vocabulary = None, Vocabulary(model.class_names, templates)
            self.names: tuple[str, ...] = names_of(self._vocabulary.classes)
        else:
            usual = Vocabulary(USUAL.get(str(self.asked['weights']), USUAL_BACKGROUND)).classes[0]
            own = Vocabulary(model.class_names).classes if classes is None else classes
            words = Words(own, self.asked['background'], templates, usual)
            # Checked here, so that a mistake leaves what was there.
            words.thresholds(self.asked['threshold'], 0.1)
            self._words, self._vocabulary, self.names = words, words.vocabulary, words.names

    def _dress(self) -> None:
        """Put words and thresholds into the method."""
        vocabulary, threshold = self._vocabulary, self.asked['threshold']
        cut = too_long(self.member.backbone, vocabulary.queries, vocabulary.templates)
        if cut:
            context = self.member.backbone.context_length
            raise BenchError(f'CLIP reads {context} tokens, and "{_short(cut[0])}" in a prompt has more; shorten it')
        self.member.vocabulary = vocabulary
        if self._words is None:
            limit = self._config.model.get('prob_thd', 0.0) if threshold is None else threshold
            if not isinstance(limit, int | float):
                raise BenchError("thresholds by class need the classes and their background, not a config's own")
        else:
            limit = self._words.thresholds(threshold, self._config.model.get('prob_thd') or 0.1)
        self.member.prob_thd = limit.to(self.device) if isinstance(limit, Tensor) else float(limit)

    @property
    def is_of_config(self) -> bool:
        """The words are those of the config that ``method`` names."""
        return self._words is None

    # ---- words

    @property
    def classes(self) -> list[list[str]]:
        """Synonyms of each class, the background left out; may be set, and nothing is loaded again.

        Raises:
            BenchError: see :class:`Words`; what was there is kept.
        """
        of = self._vocabulary.classes
        return of[1:] if self._words is not None and self._words.has_background else of

    @classes.setter
    def classes(self, classes: Classes) -> None:
        other = self.with_classes(classes)
        vars(self).update(vars(other))

    def with_classes(self, classes: Classes) -> Segmenter:
        """Another segmenter with other words and the same weights, in the same memory."""
        other = copy.copy(self)
        other.member = copy.copy(self.member)
        other._take(classes)
        other._dress()
        return other

    def with_method(self, method: str, classes: Classes | None = None, **changed: Any) -> Segmenter:
        """Another segmenter with the same weights, in the same memory.

            segmenter.with_method('naclip', threshold=0.3, settings={'model.sigma': 3.0})

        Args:
            method: see the class.
            classes: other words; None: the same.
            **changed: ``background``, ``threshold``, ``short_side``, ``templates`` or ``settings`` in place of this
                segmenter's.

        Raises:
            BenchError: there is no such method, or it is a config of other weights; see the class.
        """
        other = copy.copy(self)
        other.asked = {**self.asked, **changed, 'method': method}
        other._config = other._configured(method)
        if other._config.model.backbone != self._config.model.backbone:
            raise BenchError(f'{method} has other weights than {self.asked["method"]}; side by side they need the same')
        other._size = _size_of(other._config, other.asked['short_side'])
        if classes is not None or changed:
            other._take(classes if classes is not None or self.is_of_config else self.classes)
        other.member = other._built(self.member.backbone)
        other._dress()
        return other

    # ---- images

    def __call__(self, images: Any, probabilities: bool | str | Path = False) -> Segmentation | list[Segmentation]:
        """Segment an image, or a list of images.

        Args:
            images: a path, the bytes of a file, a PIL image, an array (H, W, 3) or a tensor (3, H, W); see
                :func:`naclip_bench.segment.inputs.picture_of`. A list gives a list.
            probabilities: also give those of every class at every pixel, (C, H, W) float32; as a path, in that ``.npy``
                file, so that they need no memory.

        Raises:
            BenchError: an image cannot be used, or memory ran out.
        """
        if isinstance(images, list | tuple):
            if not isinstance(probabilities, bool):
                raise BenchError('probabilities of several images do not fit one file; give the images one by one')
            found = []
            for first in range(0, len(images), BATCH):
                pictures = [picture_of(image) for image in images[first : first + BATCH]]
                found += segment_pictures([self], pictures, probabilities)[0]
            return found
        return segment_pictures([self], [picture_of(images)], probabilities)[0][0]

    def pipe(self, images: Any) -> list:
        """What a ``transformers`` pipeline "image-segmentation" gives: dicts of label, score and mask, for each image.

        The score is the mean probability of the class over its pixels, the mask a PIL image of 0 and 255.
        """
        results = self(images, probabilities=True)
        return [result.segments for result in results] if isinstance(results, list) else results.segments

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) to which an image of the size (H, W) is brought for the model."""
        if self._size is None:
            return size
        return mmcv.rescale_size(size[::-1], self._size)[::-1]

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides labels: settings, words, weights, code and kind of device."""
        model = {key: value for key, value in self._config.model.items() if key != 'type'}
        settings = resolved_settings('model', type(self.member), model)
        for name in (*SPEED, 'backbone', 'class_names', 'templates', 'prob_thd', 'data_preprocessor'):
            settings.pop(name, None)
        threshold = self.member.prob_thd
        backbone, vocabulary = self.member.backbone, self.member.vocabulary
        parts = {
            'method': {'type': type(self.member).__name__, **settings},
            'threshold': threshold.tolist() if isinstance(threshold, Tensor) else threshold,
            'size': self._size,
            'words': [self.names, vocabulary.sha256, vocabulary.prompts_sha256],
            'weights': [backbone.arch, backbone.weights_hash, backbone.precision, backbone.device.type],
            'code': [__version__, source_digest(), _own_source()],
        }
        return key_of(plain(parts, finite_only=False))

    # ---- as a file

    def save_pretrained(self, folder: str | Path) -> None:
        """Write what makes this segmenter into a folder: a small JSON, and the weights where they are a local file."""
        from .saved import save_segmenter

        save_segmenter(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **changed: Any) -> Segmenter:
        """Make the segmenter that :meth:`save_pretrained` wrote.

        Args:
            folder: where it wrote.
            **changed: arguments of the class that take the place of those that were written: ``device='cuda'``.

        Raises:
            BenchError: there is none.
        """
        from .saved import saved_arguments

        return cls(**{**saved_arguments(Path(folder)), **changed})

    def export(self, path: str | Path, size: tuple[int, int] | None = None) -> None:
        """Write encoder, method, words and decision as one graph for images of one size.

        It takes ``image``, (H, W, 3) uint8 RGB, and gives labels, (H, W) int64: those of this segmenter for an image
        that is one window. Resizing and windows are left to whoever runs it.

        Args:
            path: ``.onnx`` for ONNX, ``.pt2`` for torch.export. The names of the classes are in it, as JSON: ``names``
                of ONNX's metadata, and the file ``names.json`` of a ``.pt2``.
            size: (H, W); None: the method's window, 224 x 224.

        Raises:
            BenchError: another suffix, a missing library, or a method that no graph can hold.
        """
        from .export import export_segmenter

        export_segmenter(self, Path(path), size)

    def __repr__(self) -> str:
        return f'Segmenter({self.asked["method"]!r}, {list(self.names)}, weights={self.member.backbone.weights_name!r})'


def _size_of(config: Config, asked: int | str | None) -> tuple[int, int] | None:
    """What mmcv resizes to: (long, short) at most; None for not at all."""
    steps = {step['type']: step for step in config.test_dataloader.dataset.pipeline}
    if asked == 'original':
        return None
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise BenchError(f'short_side is {asked!r}; it must be pixels, or "original"')
        return 10**6, asked
    if 'CentralSquare' in steps:
        raise BenchError('this config looks at the central square of an image alone; take the method by its name')
    return tuple(steps['Resize']['scale']) if 'Resize' in steps else None


def _short(word: str) -> str:
    return word if len(word) <= 60 else f'{word[:60]} ...'


def _own_source() -> str:
    folder = Path(__file__).parent
    files = [folder / name for name in ('inputs.py', 'running.py', 'words.py')]
    return hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
