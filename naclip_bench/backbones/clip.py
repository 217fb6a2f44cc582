"""A frozen image-text encoder in pieces: patch embedding, blocks, head and text tower."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..errors import BenchError
from ..settings import checked
from .colors import Colors
from .kept import KeptTrunk
from .positions import interpolate_positions
from .text_tower import TextTower
from .towers import tower_of
from .weights import load_clip

T = TypeVar('T')

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


@dataclass(frozen=True)
class TrunkNeed:
    """What a method asks of the trunk.

    Attributes:
        depth: how many blocks to run, 0 to all.
        outputs: indices, from 0 and under ``depth``, of blocks whose output tokens are kept.
        attention: likewise, of blocks whose attention maps are kept.
        positions: how the position embedding is interpolated; see :func:`interpolate_positions`.
    """

    depth: int
    outputs: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    positions: str = 'sclip'


@dataclass
class Trunk:
    """What the untouched blocks made of a batch of windows.

    Attributes:
        tokens: (N, prefix + h * w, width), [CLS] first where there is one: the input of the first block that a method
            changes.
        grid: (h, w), the rows and columns of patches.
        outputs: output tokens of the inner blocks asked for, by block index from 0.
        attention: attention maps (N, heads, T, T) of the inner blocks asked for, by block index from 0.
        images: the windows themselves, (N, 3, H, W), normalized.
        computed: what methods that look at the same tokens have computed from them; see :meth:`once`.
        of_images: likewise from the windows themselves, whatever the tokens; see :meth:`once_of_images`.
        beside: (N, 0 or 1, H, W), the mask where the pipeline puts it beside the image; see :class:`MaskBesideImage`.
        rotation: (h * w, 2 d), what blocks rotate queries and keys by; None where positions are not rotary.
    """

    tokens: Tensor
    grid: tuple[int, int]
    outputs: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    images: Tensor | None = None
    computed: dict[str, object] = field(default_factory=dict)
    of_images: dict[object, object] = field(default_factory=dict)
    beside: Tensor | None = None
    rotation: Tensor | None = None

    def once(self, what: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, computed by the first method that asks; to be read only."""
        if what not in self.computed:
            self.computed[what] = compute()
        return self.computed[what]

    def once_of_images(self, what: object, compute: Callable[[], T]) -> T:
        """What ``compute`` makes of :attr:`images` alone, by the first method that asks; to be read only."""
        if what not in self.of_images:
            self.of_images[what] = compute()
        return self.of_images[what]


class FrozenCLIP(nn.Module):
    """CLIP or a relative of it (:mod:`.families`), never trained, open to be taken apart.

    Args:
        arch: open_clip model name (``ViT-B-16-quickgelu``), an open_clip model config as dict or the path of its JSON,
            or a folder or ``hf-hub:ORG/NAME`` with an ``open_clip_config.json``.
        pretrained: open_clip tag (``openai``), path of a state dict (.pt, .safetensors, OpenAI's TorchScript archive),
            a folder or ``hf-hub:ORG/NAME`` as for ``arch``, or None for random weights. Where ``arch`` is one of these
            two, ``openai`` stands for its own weights.
        precision: ``fp32`` (the reference), ``bf16`` or ``fp16`` of the vision tower; the text tower stays in fp32.
        keep: folder for the tokens of windows before the first block that a method changes; see :class:`KeptTrunk`.
        colors: ``openai``, ``imagenet``, ``inception`` or a pair (mean, deviation) in 0..1, RGB, that the weights were
            trained with; None: what is known of the weights.

    Attributes:
        weights_name: the tag, the file's name, or ``random``.
        weights_hash: sha256 of all parameters in float32, whatever file they came from.
        random_weights: the weights mean nothing.
        colors: mean and deviation (0..1, RGB) that the weights were trained with.
        family: what kind of encoder it is, and what it offers to methods.
        described: the device that it is said to be on, where it has no values; see :mod:`.described`.
        prefix: how many tokens stand before the patches: [CLS], registers.
        clip: open_clip's model. Its blocks are changed (:func:`fold_quick_gelu`): use the methods here, not its own.
    """

    @checked
    def __init__(
        self,
        arch: str | dict = 'ViT-B-16-quickgelu',
        pretrained: str | Path | None = 'openai',
        precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32',
        colors: str | Sequence[float | Sequence[float]] | None = None,
        keep: str | Path | None = None,
    ) -> None:
        super().__init__()
        loaded = load_clip(arch, pretrained, colors)
        self.clip = loaded.model.eval().requires_grad_(False)
        self.weights_name, self.weights_hash, self.random_weights = loaded.name, loaded.sha256, loaded.random_weights
        self.colors: Colors = loaded.colors
        self.described = loaded.described
        self.arch, self.precision = loaded.arch, precision
        self.kept = KeptTrunk(keep, (self.weights_hash, precision)) if keep else None

        self.family, self.tokenizer = loaded.family, loaded.tokenizer
        visual = self.clip.visual
        self.tower = tower = tower_of(visual)
        self.patch, self.native_grid, self.prefix = tower.patch, tower.native_grid, tower.prefix
        self.width, self.embed_dim = tower.width, tower.embed_dim
        # A copy in fp32, so that interpolation does not start from rounded values.
        positions = None if tower.positions is None else tower.positions.detach().clone()
        self.register_buffer('_trained_positions', positions, persistent=False)
        visual.to(PRECISIONS[precision])
        self.blocks = tower.blocks
        self.text_tower = TextTower(self.clip)
        self._positions = lru_cache(maxsize=64)(self._positions_of)
        self._rotation = lru_cache(maxsize=64)(self._rotation_of)
        #: Encoded vocabularies; see :func:`naclip_bench.backbones.text.text_of`.
        self.texts: dict[object, object] = {}

    @property
    def device(self) -> torch.device:
        return self.described or next(self.clip.visual.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.clip.visual.parameters()).dtype

    @property
    def rounding(self) -> str:
        """What the tower's numbers are rounded to, as the key of a result has it."""
        return f'{self.precision}, trunk kept in fp16' if self.kept else self.precision

    # ---- vision

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of whole patches in an image; a remainder at the right and below is not seen."""
        if min(height, width) < self.patch:
            raise BenchError(f'an image or window of {height}x{width} is smaller than a patch of {self.patch} pixels')
        return height // self.patch, width // self.patch

    def _positions_of(
        self, grid: tuple[int, int], dtype: torch.dtype, device: torch.device, kind: str = 'sclip'
    ) -> Tensor | None:
        if self._trained_positions is None:
            return None
        return interpolate_positions(self._trained_positions, self.native_grid, grid, kind).to(device, dtype)

    def _rotation_of(self, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        rotation = self.tower.rotation(grid)
        return None if rotation is None else rotation.to(device)

    def rotation(self, grid: tuple[int, int]) -> Tensor | None:
        """What blocks rotate queries and keys of ``grid`` patches by: :attr:`Trunk.rotation`."""
        return self._rotation(grid, self.device)

    def embed(self, images: Tensor, positions: str = 'sclip') -> tuple[Tensor, tuple[int, int]]:
        """Tokens that go into the first block: patches, what stands before them, and positions.

        Args:
            images: (N, 3, H, W), normalized with CLIP's mean and standard deviation.
            positions: how the position embedding is interpolated; see :func:`interpolate_positions`.

        Returns:
            tokens (N, prefix + h * w, width) and the grid (h, w).
        """
        rows, columns = grid = self.grid(*images.shape[-2:])
        images = images[..., : rows * self.patch, : columns * self.patch].to(self.dtype)
        return self.tower.embed(images, self._positions(grid, self.dtype, self.device, positions)), grid

    @torch.no_grad()
    def trunks(self, images: Tensor, needs: Sequence[TrunkNeed]) -> list[Trunk]:
        """Run the untouched blocks, with fused attention, once for all ``needs`` that embed positions alike.

        Args:
            images: (N, 3, H, W), normalized; a fourth channel is no color and goes to :attr:`Trunk.beside`.
            needs: how far each goes and what it looks at on the way.

        Returns:
            One a need, equal to the last bit to what it would get alone. Tensors may be shared between them.
        """
        images, beside = images[:, :3], images[:, 3:]
        trunks: list[Trunk | None] = [None] * len(needs)
        of_images: dict[object, object] = {}
        grid = self.grid(*images.shape[-2:])
        rotation = self.rotation(grid)
        # On the trained grid all kinds of interpolation leave the positions as they are. What looks at inner blocks
        # has a trunk of its own where that of others is kept, and so the same numbers with them as alone.
        kinds = [
            (
                'sclip' if grid == self.native_grid else need.positions,
                self.kept is not None and not need.outputs and not need.attention,
            )
            for need in needs
        ]
        for kind in dict.fromkeys(kinds):
            alike = {index: need for index, need in enumerate(needs) if kinds[index] == kind}
            positions, kept = kind
            run = self._kept if kept else self._run
            at_depth, of_output, of_attention = run(images, positions, alike.values())
            computed = {depth: {} for depth in at_depth}
            for index, need in alike.items():
                trunks[index] = Trunk(
                    at_depth[need.depth],
                    grid,
                    {block: of_output[block] for block in need.outputs},
                    {block: of_attention[block] for block in need.attention},
                    images,
                    computed[need.depth],
                    of_images,
                    beside,
                    rotation,
                )
        return trunks

    def _run(self, images: Tensor, positions: str, needs: Collection[TrunkNeed]) -> tuple[dict[int, Tensor], ...]:
        """Tokens at each need's depth, by depth, and of inner blocks outputs and attention, by block."""
        depths = {need.depth for need in needs}
        outputs = {block for need in needs for block in need.outputs}
        attention = {block for need in needs for block in need.attention}
        tokens, grid = self.embed(images, positions)
        rotation, deepest = self.rotation(grid), max(depths)
        at_depth, of_output, of_attention = {}, {}, {}
        for index, block in enumerate(self.blocks[:deepest]):
            if index in depths:
                at_depth[index] = tokens.clone()
            if index in attention:
                of_attention[index] = block.attention_map(tokens, rotation)
            tokens = block.run(tokens, rotation=rotation)
            if index in outputs:
                of_output[index] = tokens.clone()
        at_depth[deepest] = tokens
        return at_depth, of_output, of_attention

    def _kept(self, images: Tensor, positions: str, needs: Collection[TrunkNeed]) -> tuple[dict[int, Tensor], ...]:
        """:meth:`_run` for needs without inner blocks, as far as it is not :attr:`kept`."""
        kept = self.kept.tokens(
            images, positions, {need.depth for need in needs}, lambda some: self._run(some, positions, needs)[0]
        )
        return {depth: tokens.to(self.dtype) for depth, tokens in kept.items()}, {}, {}

    def trunk(self, images: Tensor, depth: int, outputs: Iterable[int] = (), attention: Iterable[int] = ()) -> Trunk:
        """:meth:`trunks` for one need."""
        return self.trunks(images, [TrunkNeed(depth, tuple(outputs), tuple(attention))])[0]

    def head(self, tokens: Tensor) -> Tensor:
        """The last norm and the way into the space shared with text, on every token: (N, T, embed_dim).

        Where the tower pools by attention, that is the pool's value path; see :mod:`.families`.
        """
        return self.tower.project(self.tower.norm(tokens))

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """The encoder's own image embedding, (N, embed_dim), not normalized."""
        return self.tower.pooled(self.trunk(images, len(self.blocks)).tokens)

    def trunk_flops(self, images: int, grid: tuple[int, int], depth: int) -> int:
        """Floating-point operations of :meth:`trunk`: two for each multiply-add of its matrix products."""
        return images * self.tower.flops(grid, depth)

    # ---- text

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> Tensor:
        """The encoder's own embeddings (N, embed_dim) of token ids (N, context_length): in fp32, not normalized."""
        return self.text_tower.encode(tokens.to(self.device))

    @property
    def context_length(self) -> int:
        return self.clip.context_length

    def extra_repr(self) -> str:
        return f'weights={self.weights_name}, precision={self.precision}'
