"""The way every method goes from images to labels; a method overrides what its paper changes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from types import MappingProxyType

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones import FrozenCLIP, Trunk, TrunkNeed
from ..backbones.families import EVERYTHING
from ..backbones.text import Text, is_encoded, text_of
from ..datasets.preprocessor import ImagePreprocessor
from ..errors import BenchError
from ..helpers import Helper
from ..inference.decide import decide
from ..inference.pipeline import Logits, pixel_logits, segment
from ..inference.refinements import build_refinement
from ..inference.stitch import PixelLogits
from ..inference.windows import Windows
from ..settings import Count, PositiveFloat, Probability, checked
from ..timing import STOPWATCH
from ..vocabulary import Vocabulary
from .fitting import fitting_backbone
from .stages import LABELS, LOGITS, TOKENS, ReadFrom, frozen

#: Attributes of every mmseg model, and those that a run sets and unsets: no settings of a method.
NO_SETTINGS = frozenset({*vars(nn.Module()), 'init_cfg', '_is_init', 'readable'})

#: Windows that go through the backbone together where the config does not say: what keeps each kind of device busy.
WINDOW_BATCH = {'cpu': 16, 'cuda': 128}


class TrainingFreeSegmentor(BaseSegmentor):
    """Segment images by matching a frozen CLIP's patch features with class names.

    A subclass implements :meth:`dense_tokens`. Where its paper asks for more, it sets :attr:`changed_blocks`,
    :attr:`inner_outputs`, :attr:`inner_attention` or :attr:`positions`, or overrides :meth:`match` or :meth:`decide`.
    Where it asks for less than CLIP's own vision transformer offers, :meth:`needs` says so.
    What its settings may be it says by the annotations of its ``__init__``; see :mod:`naclip_bench.settings`.

    Args:
        class_names: bundled class-name file (``voc21``) or the path of one's own; see :class:`Vocabulary`.
        backbone: a :class:`FrozenCLIP`, or the arguments of one.
        templates: set of prompt templates.
        window: side of the square windows in pixels, or None for the whole image at once.
        stride: pixels from one window to the next.
        window_batch: windows that go through the backbone together; None: what suits the device. It changes no label.
        logit_scale: factor on the cosines before the softmax.
        prob_thd: probability under which a pixel becomes class 0.
        area_thd: see :func:`decide`.
        refine: arguments of a refinement and its ``type``, ``PAMR`` where there is none; None: no refinement.
        data_preprocessor: config of one of one's own; None: the weights' colors.
        pretrained, train_cfg: what mmseg's ``init_model`` gives every segmentor; the weights are the backbone's.

    Raises:
        BenchError: a setting is not what its annotation says, or does not suit the backbone.
    """

    #: How many blocks, counted from the last, the method changes; the trunk runs those before them.
    changed_blocks = 1
    #: Blocks of the trunk, from 0, whose output tokens or attention maps the method looks at.
    inner_outputs: tuple[int, ...] = ()
    inner_attention: tuple[int, ...] = ()
    #: Modules beside those that every run imports whose version can move a number.
    modules: tuple[str, ...] = ()
    #: Settings that name files, and a digest of what each holds: results stand on that, whatever the file is called.
    digests: Mapping[str, str] = MappingProxyType({})
    #: How the position embedding is interpolated; see :func:`interpolate_positions`.
    positions = 'sclip'
    #: What the method looks at in every window beside CLIP: a setting that is a helper, and the kind of its features.
    looks_at: tuple[tuple[str, str], ...] = ()
    #: Images are resized (bilinear) to whole patches before they are cut into windows.
    whole_patches = False
    #: :meth:`dense_tokens` depends on the class names and on what follows them; only then it can read them.
    reads_text = False

    # What tokens do not depend on, and what logits do not either: methods that differ in nothing else share them.
    vocabulary = ReadFrom(LOGITS)
    logit_scale = ReadFrom(LABELS)
    prob_thd = ReadFrom(LABELS)
    area_thd = ReadFrom(LABELS)
    refine = ReadFrom(LABELS)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if '__init__' in vars(cls):
            cls.__init__ = fitting_backbone(checked(cls.__init__))

    @checked
    def __init__(
        self,
        class_names: str,
        backbone: FrozenCLIP | dict | None = None,
        templates: str = 'openai_80',
        window: Count | None = 224,
        stride: Count = 112,
        window_batch: Count | None = None,
        logit_scale: PositiveFloat = 40.0,
        prob_thd: Probability = 0.0,
        area_thd: Probability | None = None,
        refine: dict | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        pretrained: None = None,
        train_cfg: None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.readable = LABELS
        self.vocabulary = Vocabulary(class_names, templates)
        self.backbone = backbone if isinstance(backbone, FrozenCLIP) else FrozenCLIP(**(backbone or {}))
        if data_preprocessor is None:
            self.data_preprocessor = ImagePreprocessor.of(self.backbone.colors)
        self.refine = build_refinement(refine, self.data_preprocessor) if refine is not None else None
        if window is not None and window < self.backbone.patch:
            raise BenchError(f'model.window is {window}, smaller than a patch of {self.backbone.patch} pixels')
        if window is not None and stride > window:
            raise BenchError(f'model.stride is {stride}; it must be at most the window, {window}, to leave no gap')
        self.window, self.stride, self.window_batch = window, stride, window_batch
        self.logit_scale, self.prob_thd, self.area_thd = logit_scale, prob_thd, area_thd
        self.align_corners = False

    # ---- what a method is

    @classmethod
    def needs(cls, settings: Mapping[str, object]) -> Set[str]:
        """What a backbone must offer, of :data:`naclip_bench.backbones.families.EVERYTHING`.

        Args:
            settings: of the method, defaults filled in.
        """
        return EVERYTHING

    @abstractmethod
    def dense_tokens(self, trunk: Trunk) -> Tensor:
        """The method: from the trunk's tokens to tokens in the space shared with text.

        Args:
            trunk: tokens (N, prefix + h * w, width) before the first changed block; never to be written over, because
                other methods may look at it too. ``prefix`` is the backbone's: [CLS], or nothing where it has none.

        Returns:
            (N, prefix + h * w, embed_dim) after the head, [CLS] first, not normalized.
        """

    def match(self, tokens: Tensor, text: Tensor, trunk: Trunk) -> Tensor:
        """Similarity of every patch with every query: the cosine, unless a paper says otherwise.

        Args:
            tokens: (N, prefix + h * w, D) output of :meth:`dense_tokens` in fp32, [CLS] first.
            text: (Q, D) unit text vectors.
            trunk: what :meth:`dense_tokens` was given.

        Returns:
            (N, h * w, Q).
        """
        return F.normalize(self.patches(tokens), dim=-1) @ text.T

    def token_grid(self, trunk: Trunk) -> tuple[int, int]:
        """Rows and columns of the tokens that :meth:`dense_tokens` gives: CLIP's, unless a paper says otherwise."""
        return trunk.grid

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[object]:
        """What :meth:`decide` finds in ``logits.notes``, one a window: nothing, unless a paper says otherwise."""
        return [None] * len(tokens)

    def image_logits(
        self,
        patches: Tensor,
        notes: Sequence[object],
        windows: Windows,
        size: tuple[int, int],
        image: Tensor,
        whole: Mapping[str, object],
    ) -> PixelLogits:
        """From the patch logits of all windows of an image to logits of its pixels: stitched, unless a paper says more.

        Args:
            patches: (windows, Q, h, w) what :meth:`match` gave.
            notes: what :meth:`notes` gave, one a window.
            windows: where they lie in the image.
            size: (H, W) of the original image.
            image: (3, h', w') the image as the windows were cut from it, normalized.
            whole: what helpers say of the whole image (:meth:`Helper.of_image`), by the settings that they are.
        """
        return PixelLogits(patches, windows, size, notes)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        """Weights (N, heads, T, T) with which each token of the last block gathers values, [CLS] first.

        For looking at; not every method's rows sum to 1.

        Args:
            trunk: as for :meth:`dense_tokens`.

        Raises:
            BenchError: the method does not tell.
        """
        raise BenchError(f'{type(self).__name__} does not tell its attention; implement attention_weights()')

    def patches(self, tokens: Tensor) -> Tensor:
        """The patches among tokens (N, prefix + h * w, D), without what stands before them."""
        return tokens[:, self.backbone.prefix :]

    def tokens_before_last_block(self, trunk: Trunk) -> Tensor:
        """The untouched path's input of the last block, (N, T, width)."""
        tokens = trunk.tokens.clone()
        for block in self.backbone.blocks[self.shared_depth : -1]:
            block.add_(tokens, rotation=trunk.rotation)
        return tokens

    @classmethod
    def can_be_refined(cls, settings: Mapping[str, object]) -> bool:
        """Whether the method, with these settings, lets a refinement stand behind it; yes, unless a paper says more."""
        return True

    @property
    def helpers(self) -> dict[str, Helper]:
        """The frozen models beside CLIP, by the settings that they are."""
        return {name: module for name, module in self._modules.items() if isinstance(module, Helper)}

    @property
    def random_weights(self) -> bool:
        """Weights of the backbone or of a helper mean nothing."""
        return any(part.random_weights for part in (self.backbone, *self.helpers.values()))

    def seen(self, trunk: Trunk, name: str, kind: str) -> Tensor:
        """Features (N, C, h, w) in fp32 that a helper has of the windows, computed once for all methods.

        Args:
            name: the setting that is the helper.
            kind: see :meth:`Helper.features`.
        """
        helper = self.helpers[name]
        # What CLIP has no patches of, the helper does not see either.
        height, width = (side * self.backbone.patch for side in trunk.grid)
        seen = trunk.images[..., :height, :width]
        return trunk.once_of_images(helper, lambda: helper.look(self.rgb(seen))).features(kind)

    def regions_of(self, trunk: Trunk) -> Tensor:
        """Ids (N, h, w) of the part of the windows that CLIP has patches of; where no image is known, of each alone."""
        helper = self.helpers['regions']
        height, width = (side * self.backbone.patch for side in trunk.grid)

        def alone() -> Tensor:
            return torch.stack([helper.of_image(image, image.shape[1:]) for image in self.rgb(trunk.images)])

        return trunk.once_of_images((helper, 'regions'), alone)[..., :height, :width]

    def prepared(self, image: Tensor) -> Tensor:
        """The image (3, H, W) as windows are cut from it: where :attr:`whole_patches` says so, its long side rounded up
        to whole patches, and the other side in proportion and rounded up, too."""
        patch, (height, width) = self.backbone.patch, image.shape[1:]
        if not self.whole_patches or height % patch == width % patch == 0:
            return image
        longest = -(-max(height, width) // patch) * patch
        size = [math.ceil(side * longest / max(height, width) / patch - 1e-9) * patch for side in (height, width)]
        return F.interpolate(image[None], size=size, mode='bilinear', align_corners=False)[0]

    def rgb(self, images: Tensor) -> Tensor:
        """RGB from 0 to 1 of images (..., 3, H, W) that are normalized with CLIP's colors."""
        mean, deviation = (images.new_tensor(part).view(3, 1, 1) for part in self.backbone.colors)
        return images * deviation + mean

    @property
    def need(self) -> TrunkNeed:
        """What the method asks of the trunk."""
        return TrunkNeed(self.shared_depth, self.inner_outputs, self.inner_attention, self.positions)

    @property
    def shared_depth(self) -> int:
        """Blocks run untouched, which methods on one backbone can share."""
        return len(self.backbone.blocks) - self.changed_blocks

    # ---- the way of an image

    def batch_of_windows(self, device: torch.device) -> int:
        """How many windows go through the backbone together."""
        return self.window_batch or WINDOW_BATCH.get(device.type, WINDOW_BATCH['cuda'])

    @property
    def text(self) -> Text:
        """The vocabulary as the backbone sees it."""
        if is_encoded(self.backbone, self.vocabulary):
            # Asked for several times an image: events of a stage would cost more than the answer.
            return text_of(self.backbone, self.vocabulary)
        with STOPWATCH.stage('text', self.backbone.device):
            return text_of(self.backbone, self.vocabulary)

    @property
    def tokens_key(self) -> Hashable:
        """What tokens depend on: methods for which it is equal share them."""
        return self._decided_by(LABELS if self.reads_text else TOKENS)

    @property
    def logits_key(self) -> Hashable:
        """What patch logits depend on: methods for which it is equal share them."""
        return self._decided_by(LABELS if self.reads_text else LOGITS)

    def _decided_by(self, stage: int) -> Hashable:
        own = {
            name: value
            for name, value in vars(self).items()
            if name not in NO_SETTINGS and getattr(getattr(type(self), name, None), 'stage', TOKENS) <= stage
        }
        # Parts with weights are shared where they are the very same.
        parts = {**self._modules, **self._parameters, **self._buffers}
        parts = {name: id(part) for name, part in parts.items() if name != 'data_preprocessor'}
        return type(self), frozen(own), frozen(parts)

    @contextmanager
    def _reading(self, stage: int) -> Iterator[None]:
        self.readable = LABELS if self.reads_text else stage
        try:
            yield
        finally:
            self.readable = LABELS

    def tokens(self, trunk: Trunk) -> Tensor:
        """Run :meth:`dense_tokens`, which sees what tokens may depend on alone; its tokens in fp32."""
        with STOPWATCH.stage('helper', self.backbone.device):
            for name, kind in self.looks_at:
                self.seen(trunk, name, kind)
        with STOPWATCH.stage('method', self.backbone.device), self._reading(TOKENS):
            return self.dense_tokens(trunk).float()

    def patch_logits(self, tokens: Tensor, trunk: Trunk) -> tuple[Tensor, Sequence[object]]:
        """Run :meth:`match` and :meth:`notes`: logits (N, Q, h, w), and the notes on each window."""
        vectors = self.text.vectors
        with STOPWATCH.stage('stitch+decide', self.backbone.device), self._reading(LOGITS):
            matched = self.match(tokens, vectors, trunk)
            return matched.transpose(1, 2).unflatten(2, self.token_grid(trunk)), self.notes(tokens, trunk)

    def window_tokens(self, images: Tensor) -> tuple[Tensor, Trunk]:
        """Compute :meth:`tokens` of windows (N, 3, H, W), and the trunk they came from."""
        with STOPWATCH.stage('trunk', self.backbone.device):
            trunk = self.backbone.trunks(images, [self.need])[0]
        return self.tokens(trunk), trunk

    def decide(self, logits: Logits) -> Tensor:
        """Labels (H, W) int64 of one image, or (n, H, W) of several together; -1 where a logit is not finite."""
        _, query_class, multiplicity = self.text
        # Refinement happens while its logits are asked for, so that all of this is its time.
        with STOPWATCH.stage('refine' if self.refine else 'stitch+decide', self.backbone.device):
            rule = self.refine.decide if self.refine else decide
            return rule(logits, query_class, multiplicity, self.logit_scale, self.prob_thd, self.area_thd)

    @property
    def decides_together(self) -> bool:
        """Whether :meth:`decide` takes several images as one: where a pixel's label depends on its own logits alone."""
        own = type(self).decide is not TrainingFreeSegmentor.decide
        return not own and self.refine is None and self.area_thd is None

    # ---- mmseg's interface

    @torch.no_grad()
    def predict(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segment images (3, H, W) of any sizes; labels go to ``pred_sem_seg`` at the original size.

        Raises:
            BenchError: see :func:`segment`.
        """
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in inputs]
        labels = segment([self], inputs, data_samples)[0]
        for sample, label in zip(data_samples, labels, strict=True):
            sample.pred_sem_seg = PixelData(data=label[None].long())
        return data_samples

    def encode_decode(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]) -> list[Tensor]:
        """Cosine logits (Q, H, W) at the original size, refined where the config says so, before scale and softmax.

        Q counts every word of the class-name file, repeated ones included.
        """
        sizes = [tuple(sample.ori_shape[:2]) for sample in data_samples]
        paths = [sample.get('img_path') for sample in data_samples]
        return [x.full()[self.vocabulary.occurrences] for x in pixel_logits([self], inputs, sizes, paths=paths)[0]]

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Patch features (N, embed_dim, h, w) of images of one size, not normalized."""
        tokens, trunk = self.window_tokens(inputs)
        return self.patches(tokens).transpose(1, 2).unflatten(2, self.token_grid(trunk))

    def _forward(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample] | None = None) -> list[Tensor]:
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in inputs]
        return self.encode_decode(inputs, data_samples)

    def loss(self, inputs: object, data_samples: object) -> dict:
        raise NotImplementedError('a training-free method has no loss')
