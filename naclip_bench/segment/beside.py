"""One's own image and words: :class:`Segmenter` beside the released way of the same method, and beside CLIPSeg.

CLIPSeg is what ``transformers`` has for images and words without training on them. As its documentation goes, the image
is read once for each word; its logits are resized to the image, and the highest is the label.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import open_clip
import torch
from rich.table import Column, Table
from torch import Tensor
from torch.nn import functional as F

from ..console import print_whole, screen
from ..evaluation.record import device_record
from ..optional import needed
from ..speed.against_plain import plain_labels
from ..timing import seconds_of
from .inputs import Picture
from .running import model_input
from .segmenter import Segmenter

#: Colors that CLIPSeg's preprocessor takes off and divides by: ImageNet's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ways_of(segmenter: Segmenter) -> dict[str, Callable[[Picture], Tensor]]:
    """What is measured, each from an image to labels (H, W); text is encoded before, but CLIPSeg's, which has to.

    Raises:
        BenchError: transformers is not installed.
    """
    return {
        'Segmenter': lambda picture: torch.from_numpy(segmenter(picture).labels),
        'as released': lambda picture: _released(segmenter, picture),
        'CLIPSeg': clipseg(segmenter.names, segmenter.device),
    }


def measure(
    ways: Mapping[str, Callable[[Picture], object]], pictures: Sequence[Picture], device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each image by each way; ways take turns image by image, another one first each time."""
    names = list(ways)
    for way in ways.values():
        way(pictures[0])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index, picture in enumerate(pictures):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(seconds_of(lambda way=ways[name], of=picture: way(of), device, 1))
    return seconds


def print_measured(seconds: Mapping[str, Sequence[float]], segmenter: Segmenter) -> None:
    """Print medians, and the median of each image's ratio to the first way."""
    console = screen()
    table = Table('way', *(Column(name, justify='right') for name in ('s an image, median', 'beside the first')))
    first = next(iter(seconds.values()))
    for name, of in seconds.items():
        ratio = statistics.median(other / own for own, other in zip(first, of, strict=True))
        table.add_row(name, f'{statistics.median(of):.3f}', f'{ratio:.2f}x')
    print_whole(console, table)
    device, clip = device_record(segmenter.device), segmenter.member.backbone
    console.print(
        f'{len(first)} images, {len(segmenter.names)} words, {segmenter.asked["method"]}, {clip.precision}, '
        f'{device["name"]}, {device["threads"]} threads',
        markup=False,
    )


def clipseg(names: Sequence[str], device: torch.device) -> Callable[[Picture], Tensor]:
    """CLIPSeg of its usual size (ViT-B/16, 352 x 352) with random weights, which take as long as any."""
    transformers = needed('transformers', 'helpers', 'CLIPSeg')
    config = transformers.CLIPSegConfig(vision_config=dict(patch_size=16))
    model = transformers.CLIPSegForImageSegmentation(config).eval().to(device)
    side, tokenizer = 352, open_clip.get_tokenizer('ViT-B-16')

    @torch.no_grad()
    def labels(picture: Picture) -> Tensor:
        words = tokenizer([f'a photo of a {name}' for name in names]).to(device)
        # As its processor does: to the longest.
        words = words[:, : int((words != 0).sum(1).max())]
        pixels = torch.from_numpy(picture.image[:]).permute(2, 0, 1)[None].to(device) / 255
        pixels = F.interpolate(pixels, size=(side, side), mode='bicubic', align_corners=False, antialias=True)
        mean, std = (torch.tensor(of, device=device)[:, None, None] for of in (MEAN, STD))
        pixels = ((pixels - mean) / std).expand(len(names), -1, -1, -1)
        logits = model(input_ids=words, attention_mask=(words != 0).long(), pixel_values=pixels).logits
        logits = logits.reshape(1, len(names), side, side)
        logits = F.interpolate(logits, size=picture.size, mode='bilinear', align_corners=False)
        return logits[0].argmax(0).cpu()

    return labels


def _released(segmenter: Segmenter, picture: Picture) -> Tensor:
    image = model_input(segmenter, picture.image)
    inputs = segmenter.member.data_preprocessor(dict(inputs=[image]))['inputs'][0]
    return plain_labels(segmenter.member, inputs, picture.size).cpu()
