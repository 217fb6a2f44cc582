"""SCLIP's learned projection (Table 2): W_r of eq. 2, learned from a few training images of a dataset.

"We specifically learn a projection matrix from the training split of each dataset. The model is able to converge well
with few training samples (we use 64 for each dataset)." No more is said, and no code was released. The choices here:

- Everything but W_r is frozen, and W_r starts as CLIP's W_q, without its bias.
- The loss is the cross entropy of the suite's own decision: the scaled cosines' softmax over all words, and of a class
  its likeliest word; thresholds take no part. A pixel has the logits of its patch, an ignored one does not count.
- Images are resized and cut into windows as in the benchmark; a step of Adam is all windows of one image, and every
  image is seen ``EPOCHS`` times, in an order drawn from the seed. Rate and epochs are guesses: on Materials, whose CLIP
  is tiny, the matrix beats CLIP's own by far, and no other weights were at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ..backbones import FrozenCLIP, Trunk
from ..errors import BenchError
from ..files import written_beside
from ..inference.windows import Windows
from .base import TrainingFreeSegmentor

EPOCHS, RATE = 10, 3e-4

#: Name of the matrix in its file.
NAME = 'projection'


def write_projection(path: Path, matrix: Tensor, backbone: FrozenCLIP, about: Mapping[str, object]) -> None:
    """Write a matrix (width, width), beside the weights it belongs to and how it came about."""
    told = {key: str(value) for key, value in {**about, 'weights': backbone.weights_hash}.items()}
    with written_beside(path) as temporary:
        save_file({NAME: matrix.float().cpu().contiguous()}, temporary, told)


def read_projection(path: Path, backbone: FrozenCLIP) -> tuple[Tensor, str]:
    """Read a matrix (width, width) in fp32, and the sha256 of its numbers.

    Raises:
        BenchError: the file is not there, holds no such matrix, or one that was learned on other weights.
    """
    if not path.is_file():
        raise BenchError(f'there is no projection {path}; naclip-bench learn writes one')
    try:
        with safe_open(path, 'pt') as file:
            matrix, weights = file.get_tensor(NAME), (file.metadata() or {}).get('weights')
    except (SafetensorError, OSError) as error:
        raise BenchError(f'{path} is no file of a projection, as naclip-bench learn writes them: {error}') from None
    if weights != backbone.weights_hash:
        raise BenchError(
            f'the projection {path} was learned on other weights than "{backbone.weights_name}"; learn it anew'
        )
    return matrix, hashlib.sha256(matrix.numpy().tobytes()).hexdigest()


def learn_projection(
    model: TrainingFreeSegmentor,
    images: Iterable[tuple[Tensor, Tensor]],
    ignored: int,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Tensor:
    """Learn W_r (width, width), the same for a seed on one device.

    Args:
        model: an ``SCLIP``; it attends by the matrix afterwards.
        images: normalized (3, H, W), and labels (H', W') of any size.
        ignored: label of pixels that do not count.
        seed: of the order of the images.
        tell: told of each finished epoch from 1, and its mean loss.
    """
    backbone = model.backbone
    samples = [windows_of(model, image, labels, ignored) for image, labels in images]
    start = backbone.blocks[-1].query_weight.T.float().clone()
    model.attention, model.learned = 'learned', start.requires_grad_()
    optimizer, order = torch.optim.Adam([model.learned], RATE), torch.Generator().manual_seed(seed)
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for index in torch.randperm(len(samples), generator=order).tolist():
            optimizer.zero_grad()
            loss = projection_loss(model, *samples[index])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) / len(samples)
        tell(epoch, total)
    model.learned = model.learned.detach()
    return model.learned


@torch.no_grad()
def windows_of(
    model: TrainingFreeSegmentor, image: Tensor, labels: Tensor, ignored: int
) -> tuple[Tensor, tuple[int, int], Tensor]:
    """Tokens (N, T, width) of an image's windows, their grid, and the pixels (N, h * w, classes) of each patch."""
    backbone, classes = model.backbone, len(model.vocabulary)
    windows = Windows.over(tuple(image.shape[-2:]), model.window, model.stride)
    resized = F.interpolate(labels[None, None].float(), size=image.shape[-2:], mode='nearest-exact')[0].long()
    trunk = backbone.trunks(torch.stack(windows.crop(image)), [model.need])[0]
    (rows, columns), patch = trunk.grid, backbone.patch
    pixels = torch.cat(windows.crop(resized))[:, : rows * patch, : columns * patch]
    pixels = pixels.unflatten(2, (columns, patch)).unflatten(1, (rows, patch)).transpose(2, 3).flatten(3).flatten(1, 2)
    scored = (pixels != ignored).float()
    counts = torch.zeros(*pixels.shape[:2], classes, device=pixels.device)
    return trunk.tokens, trunk.grid, counts.scatter_add_(2, pixels * (pixels != ignored), scored)


def projection_loss(model: TrainingFreeSegmentor, tokens: Tensor, grid: tuple[int, int], counts: Tensor) -> Tensor:
    """Compute the mean cross entropy of the scored pixels of windows.

    Args:
        tokens: (N, prefix + h * w, width), the input of the last block.
        grid: (h, w).
        counts: (N, h * w, classes), how many pixels of a patch are of each class.
    """
    trunk, vocabulary = Trunk(tokens, grid, rotation=model.backbone.rotation(grid)), model.vocabulary
    cosines = model.match(model.dense_tokens(trunk).float(), model.text.vectors, trunk)
    occurrences, classes = vocabulary.occurrences.to(cosines.device), vocabulary.word_class.to(cosines.device)
    of_words = (model.logit_scale * cosines[..., occurrences]).log_softmax(-1)
    of_classes = torch.full_like(counts, -torch.inf)
    of_classes = of_classes.scatter_reduce(2, classes.expand_as(of_words), of_words, 'amax')
    return -(counts * of_classes).sum() / counts.sum().clamp(min=1)
