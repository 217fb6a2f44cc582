"""Images to the device and into CLIP's color space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.registry import MODELS
from torch import Tensor

from ..timing import STOPWATCH

#: CLIP's mean and standard deviation x 255, rounded to three decimals as the whole SCLIP family has them.
MEAN = (122.771, 116.746, 104.094)
STD = (68.501, 66.632, 70.323)


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """A list of BGR uint8 images of any sizes to normalized RGB float32 images.

    They travel to the device as uint8, a quarter of the bytes, and are normalized there. mmseg's own preprocessor
    wants one size a batch.

    Args:
        mean, std: of each channel, in RGB order.
    """

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__(non_blocking=True)
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    @classmethod
    def of(cls, colors: tuple[Sequence[float], Sequence[float]]) -> ImagePreprocessor:
        """Build the one for weights trained with this mean and deviation (0..1, RGB); OpenAI's give the defaults."""
        return cls(*([round(255 * value, 3) for value in part] for part in colors))

    def forward(self, data: dict, training: bool = False) -> dict:
        with STOPWATCH.stage('read', self.mean.device):
            device = self.mean.device
            # Not by ``cast_data``, which takes as long for what nobody reads in the samples.
            images = [image.to(device, non_blocking=True) for image in data['inputs']]
            alike: dict[tuple, list[int]] = defaultdict(list)
            for index, image in enumerate(images):
                alike[image.dtype, image.shape].append(index)
            for indices in alike.values():
                together = self.normalized(torch.stack([images[index] for index in indices]))
                for index, image in zip(indices, together, strict=True):
                    images[index] = image
        return {'data_samples': None, **data, 'inputs': images}

    def normalized(self, images: Tensor) -> Tensor:
        """Normalize colors (n, 3, H, W); a fourth channel, see :class:`MaskBesideImage`, stays as it is."""
        colors = images[:, :3].flip(1).float().sub_(self.mean).div_(self.std)
        return colors if images.shape[1] == 3 else torch.cat([colors, images[:, 3:].float()], dim=1)
