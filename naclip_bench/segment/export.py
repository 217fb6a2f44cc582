"""A segmenter as a graph of its own: encoder, method, words and decision for one window of a fixed size."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..datasets.preprocessor import ImagePreprocessor
from ..errors import BenchError
from ..files import written_beside
from ..inference.stitch import PixelLogits
from ..inference.windows import Windows
from ..methods.base import TrainingFreeSegmentor
from ..optional import needed

if TYPE_CHECKING:
    from .segmenter import Segmenter

SUFFIXES = ('.onnx', '.pt2')

#: Share of pixels that lie so evenly between two classes that the order of sums decides.
TIES = 1e-3


class OneWindow(nn.Module):
    """From an image (H, W, 3) uint8 RGB of one size to its labels (H, W) int64."""

    def __init__(self, member: TrainingFreeSegmentor, size: tuple[int, int]) -> None:
        super().__init__()
        self.member, self.windows = member, Windows.over(size, None, 1)

    def forward(self, image: Tensor) -> Tensor:
        member, colors = self.member, self.member.data_preprocessor
        normalized = (image.permute(2, 0, 1).float() - colors.mean) / colors.std
        trunk = member.backbone.trunks(normalized[None], [member.need])[0]
        logits, notes = member.patch_logits(member.tokens(trunk), trunk)
        return member.decide(PixelLogits(logits, self.windows, self.windows.size, notes))


def export_segmenter(segmenter: Segmenter, path: Path, size: tuple[int, int] | None) -> None:
    """Write ``path``; see :meth:`Segmenter.export`."""
    member = segmenter.member
    if path.suffix not in SUFFIXES:
        raise BenchError(f'cannot export to {path}: the name must end in {" or ".join(SUFFIXES)}')
    if path.suffix == '.onnx':
        needed('onnxscript', 'onnx', 'export to ONNX')
    if member.refine is not None or type(member.data_preprocessor) is not ImagePreprocessor:
        raise BenchError('only a method without refinement and with the usual preprocessor can be exported')
    if size is None:
        if member.window is None:
            raise BenchError('the method has no window; give the size of the image, as export(path, size=(336, 448))')
        size = (member.window, member.window)
    member.backbone.grid(*size)
    # The second shows whether the graph has taken something of the first for granted.
    image, another = (_noise(size, seed, segmenter.device) for seed in (0, 1))
    graph = OneWindow(member, size).eval()
    with torch.no_grad():
        # What is kept after the first time, as text vectors and positions, is a constant of the graph.
        expected = [graph(image), graph(another)]
        try:
            with _quiet():
                program = torch.export.export(graph, (image,), strict=False)
                found = [program.module()(image), program.module()(another)]
        except Exception as error:  # whatever a graph cannot hold
            raise _cannot(member, str(error).strip().split('\n')[0]) from None
        if any((one != other).float().mean() > TIES for one, other in zip(found, expected, strict=True)):
            raise _cannot(member, 'what it computes depends on the image')
        with written_beside(path) as temporary:
            if path.suffix == '.pt2':
                file = io.BytesIO()
                torch.export.save(program, file, extra_files={'names.json': json.dumps(segmenter.names)})
                temporary.write_bytes(file.getvalue())
                return
            try:
                with _quiet():
                    onnx = torch.onnx.export(program, dynamo=True)
                    onnx.model.metadata_props['names'] = json.dumps(segmenter.names)
                    onnx.save(temporary)
            except torch.onnx.OnnxExporterError:
                raise _cannot(member, 'ONNX has no graph for it; take .pt2') from None


def _noise(size: tuple[int, int], seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator).to(device)


def _cannot(member: TrainingFreeSegmentor, why: str) -> BenchError:
    return BenchError(f'{type(member).__name__} cannot be exported: {why}')


@contextlib.contextmanager
def _quiet():
    """Without what the exporter tells of its own progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
