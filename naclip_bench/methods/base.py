"""The way every method goes from pictures to labels; a method overrides what its paper changes."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP, Trunk
from ..datasets.preprocessor import PicturePreprocessor
from ..errors import BenchError, is_out_of_memory
from ..inference.decide import NOT_FINITE, decide
from ..inference.pamr import PAMR, RefinedLogits
from ..inference.stitch import PixelLogits
from ..inference.windows import Windows
from ..timing import STOPWATCH
from ..vocabulary import Vocabulary, text_vectors

#: Windows that go through the backbone together where the config does not say: what keeps each kind of device busy.
WINDOW_BATCH = {'cpu': 16, 'cuda': 128}


class TrainingFreeSegmentor(BaseSegmentor):
    """A frozen CLIP whose patch features are matched with class names.

    A subclass implements :meth:`dense_tokens`. Where its paper asks for more, it sets :attr:`changed_blocks`,
    :attr:`inner_outputs`, :attr:`inner_attention` or :attr:`positions`, or overrides :meth:`match` or :meth:`decide`.

    Args:
        class_names: bundled class-name file (``voc21``) or the path of one's own; see :class:`Vocabulary`.
        backbone: arguments of :class:`FrozenCLIP`.
        templates: set of prompt templates.
        window: side of the square windows in pixels, or None for the whole picture at once.
        stride: pixels from one window to the next.
        window_batch: windows that go through the backbone together; None: what suits the device. It changes no label.
        logit_scale: factor on the cosines before the softmax.
        prob_thd: probability under which a pixel becomes class 0.
        area_thd: see :func:`decide`.
        refine: arguments of :class:`PAMR`, or None for no refinement.
    """

    #: How many blocks, counted from the last, the method changes; the trunk runs those before them.
    changed_blocks = 1
    #: Blocks of the trunk, from 0, whose output tokens or attention maps the method looks at.
    inner_outputs: tuple[int, ...] = ()
    inner_attention: tuple[int, ...] = ()
    #: How the position embedding is interpolated; see :func:`interpolate_positions`.
    positions = 'sclip'

    def __init__(
        self,
        class_names: str,
        backbone: dict | None = None,
        templates: str = 'openai_80',
        window: int | None = 224,
        stride: int = 112,
        window_batch: int | None = None,
        logit_scale: float = 40.0,
        prob_thd: float = 0.0,
        area_thd: float | None = None,
        refine: dict | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.vocabulary = Vocabulary(class_names, templates)
        self.backbone = FrozenCLIP(**(backbone or {}))
        if data_preprocessor is None:
            self.data_preprocessor = PicturePreprocessor.of(self.backbone.colours)
        self.refine = PAMR(**refine) if refine is not None else None
        for name, value in (('window', window), ('stride', stride), ('window_batch', window_batch)):
            if value is not None and not isinstance(value, int):
                raise BenchError(f'model.{name} is {value!r}; it must be a whole number')
        if window is not None and window < self.backbone.patch:
            raise BenchError(f'model.window is {window}, smaller than a patch of {self.backbone.patch} pixels')
        if window is not None and not 1 <= stride <= window:
            raise BenchError(f'model.stride is {stride}; it must be from 1 to the window, {window}, to leave no gap')
        if window_batch is not None and window_batch < 1:
            raise BenchError(f'model.window_batch is {window_batch}; it must be at least 1')
        self.window, self.stride, self.window_batch = window, stride, window_batch
        self.logit_scale, self.prob_thd, self.area_thd = logit_scale, prob_thd, area_thd
        self.align_corners = False

    # ---- what a method is

    @abstractmethod
    def dense_tokens(self, trunk: Trunk) -> Tensor:
        """The method: from the trunk's tokens to tokens in the space shared with text.

        Args:
            trunk: tokens (N, 1 + h * w, width) before the first changed block; never to be written over, because
                other methods may look at it too.

        Returns:
            (N, 1 + h * w, embed_dim) after the head, [CLS] first, not normalised.
        """

    def match(self, tokens: Tensor, text: Tensor, trunk: Trunk) -> Tensor:
        """Likeness of every patch with every query: the cosine, unless a paper says otherwise.

        Args:
            tokens: (N, 1 + h * w, D) output of :meth:`dense_tokens` in fp32, [CLS] first.
            text: (Q, D) unit text vectors.
            trunk: what :meth:`dense_tokens` was given.

        Returns:
            (N, h * w, Q).
        """
        return F.normalize(tokens[:, 1:], dim=-1) @ text.T

    def notes(self, tokens: Tensor, trunk: Trunk) -> Sequence[object]:
        """What :meth:`decide` finds in ``logits.notes``, one a window: nothing, unless a paper says otherwise."""
        return [None] * len(tokens)

    def attention_weights(self, trunk: Trunk) -> Tensor:
        """Weights (N, heads, T, T) with which each token of the last block gathers values, [CLS] first.

        For looking at; not every method's rows sum to 1.

        Args:
            trunk: as for :meth:`dense_tokens`.

        Raises:
            BenchError: the method does not tell.
        """
        raise BenchError(f'{type(self).__name__} does not tell its attention; implement attention_weights()')

    @property
    def shared_depth(self) -> int:
        """Blocks run untouched, which methods on one backbone can share."""
        return len(self.backbone.blocks) - self.changed_blocks

    # ---- the way of a picture

    def batch_of_windows(self, device: torch.device) -> int:
        """How many windows go through the backbone together."""
        return self.window_batch or WINDOW_BATCH.get(device.type, WINDOW_BATCH['cuda'])

    @cached_property
    def text(self) -> tuple[Tensor, Tensor, Tensor]:
        """Unit text vectors (Q, D), the class and the multiplicity of each query, on the backbone's device."""
        device, vocabulary = self.backbone.device, self.vocabulary
        with STOPWATCH.stage('text', device):
            vectors = text_vectors(self.backbone, vocabulary.queries, vocabulary.templates)
        return vectors, vocabulary.query_class.to(device), vocabulary.multiplicity.to(device)

    def window_tokens(self, images: Tensor) -> tuple[Tensor, Trunk]:
        """Output tokens (N, 1 + h * w, embed_dim) of windows (N, 3, H, W) in fp32, and the trunk they came from."""
        device = self.backbone.device
        with STOPWATCH.stage('trunk', device):
            trunk = self.backbone.trunk(
                images, self.shared_depth, self.inner_outputs, self.inner_attention, self.positions
            )
        with STOPWATCH.stage('method', device):
            return self.dense_tokens(trunk).float(), trunk

    def patch_logits(self, images: Tensor, text: Tensor) -> tuple[Tensor, Sequence[object]]:
        """Patch logits (N, Q, h, w) of windows (N, 3, H, W) with the text vectors (Q, D), in fp32, and the notes."""
        tokens, trunk = self.window_tokens(images)
        with STOPWATCH.stage('stitch+decide', tokens.device):
            logits = self.match(tokens, text, trunk).transpose(1, 2).unflatten(2, trunk.grid)
            return logits, self.notes(tokens, trunk)

    @torch.no_grad()
    def pixel_logits(
        self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[PixelLogits | RefinedLogits]:
        """Logits of pictures (3, H, W) of any sizes, at the original ``sizes`` and refined where the config says so.

        All windows of one size, of all pictures, share the batches of the backbone. They are views until their batch.
        """
        device = self.backbone.device
        text = self.text[0]
        layouts = [Windows.over(tuple(image.shape[-2:]), self.window, self.stride) for image in images]
        crops = [crop for image, windows in zip(images, layouts, strict=True) for crop in windows.crop(image)]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, crop in enumerate(crops):
            by_shape[tuple(crop.shape)].append(index)

        batch = self.batch_of_windows(device)
        logits: list[Tensor | None] = [None] * len(crops)
        notes: list[object] = [None] * len(crops)
        for indices in by_shape.values():
            # As few batches as can be, and of like size: a small last one would cost as much as a large one.
            for chunk in torch.tensor(indices).tensor_split(-(-len(indices) // batch)):
                chunk = chunk.tolist()
                with STOPWATCH.stage('trunk', device):
                    crops_together = torch.stack([crops[index] for index in chunk])
                for index, *out in zip(chunk, *self.patch_logits(crops_together, text), strict=True):
                    logits[index], notes[index] = out

        results, first = [], 0
        for image, windows, size in zip(images, layouts, sizes, strict=True):
            with STOPWATCH.stage('stitch+decide', device):
                own = slice(first, first + len(windows))
                results.append(PixelLogits(torch.stack(logits[own]), windows, tuple(size), notes[own]))
            first += len(windows)
            if self.refine is not None:
                with STOPWATCH.stage('refine', device):
                    results[-1] = self.refine(results[-1], image)
        return results

    def decide(self, logits: PixelLogits | RefinedLogits) -> Tensor:
        """Labels (H, W) int64 of one picture; -1 where a logit is not finite."""
        _, query_class, multiplicity = self.text
        # Refinement happens while its logits are asked for, so that all of this is its time.
        with STOPWATCH.stage('refine' if self.refine else 'stitch+decide', self.backbone.device):
            return decide(logits, query_class, multiplicity, self.logit_scale, self.prob_thd, self.area_thd)

    # ---- mmseg's interface

    @torch.no_grad()
    def predict(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segment pictures (3, H, W) of any sizes; labels go to ``pred_sem_seg`` at the original size.

        Raises:
            BenchError: a logit is not finite; says of which picture.
        """
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in inputs]
        sizes = [tuple(sample.ori_shape[:2]) for sample in data_samples]
        try:
            labels = [self.decide(logits) for logits in self.pixel_logits(inputs, sizes)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BenchError(
                'out of memory; lower model.window_batch, test_dataloader.batch_size'
                f'{" or model.refine.query_chunk" if self.refine else ""} (they change no result but by rounding)'
            ) from None
        # The one wait for the device in a batch.
        broken = torch.stack([(label == NOT_FINITE).any() for label in labels]).tolist()
        for sample in (sample for sample, bad in zip(data_samples, broken, strict=True) if bad):
            raise BenchError(
                f'the logits of {sample.metainfo.get("img_path", "a picture")} are not finite (NaN or infinite); '
                f'check the weights "{self.backbone.weights_name}", or use --precision fp32 or bf16'
            )
        for sample, label in zip(data_samples, labels, strict=True):
            sample.pred_sem_seg = PixelData(data=label[None])
        return data_samples

    def encode_decode(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]) -> list[Tensor]:
        """Cosine logits (Q, H, W) at the original size, refined where the config says so, before scale and softmax.

        Q counts every word of the class-name file, repeated ones included.
        """
        sizes = [tuple(sample.ori_shape[:2]) for sample in data_samples]
        return [x.full()[self.vocabulary.occurrences] for x in self.pixel_logits(inputs, sizes)]

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Patch features (N, embed_dim, h, w) of pictures of one size, not normalised."""
        tokens, trunk = self.window_tokens(inputs)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, trunk.grid)

    def _forward(self, inputs: Sequence[Tensor], data_samples: list[SegDataSample] | None = None) -> list[Tensor]:
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in inputs]
        return self.encode_decode(inputs, data_samples)

    def loss(self, inputs: object, data_samples: object) -> dict:
        raise NotImplementedError('a training-free method has no loss')
