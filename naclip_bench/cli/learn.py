"""Learn the projection of SCLIP's Table 2 from training images.

naclip-bench learn sclip_voc21 --out work_dirs/projections/voc21.safetensors \\
    --cfg-options test_dataloader.dataset.ann_file=ImageSets/Segmentation/train.txt
naclip-bench test sclip_voc21 --cfg-options model.attention=learned \\
    model.projection=work_dirs/projections/voc21.safetensors
"""

from __future__ import annotations

import random
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_config_arguments, config_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    add = parser.add_argument
    add('--out', type=Path, required=True, metavar='FILE', help='the projection, a .safetensors file')
    add('--images', type=int, default=64, metavar='N', help='how many images, drawn at random (default: %(default)s)')
    add('--seed', type=int, default=0, help='of the draw and of their order (default: %(default)s)')


def main(arguments: Namespace) -> None:
    label, config = config_of(arguments)
    if config.model.type != 'SCLIP':
        raise BenchError(f'{label} is no config of SCLIP, which alone has a learned projection')

    import torch
    from mmseg.registry import MODELS

    from ..checks.start import build_dataset
    from ..datasets.check import image_names
    from ..datasets.splits import official_list, some
    from ..evaluation.config_check import check_config
    from ..files import make_folder
    from ..methods.learned_projection import EPOCHS, RATE, learn_projection, write_projection

    config.model.attention = 'q'
    check_config(config)
    dataset = build_dataset(config.test_dataloader.dataset)
    names = image_names(dataset)
    if not 1 <= arguments.images <= len(names):
        raise BenchError(f'--images is {arguments.images}; the dataset has {len(names)}')
    chosen = sorted(random.Random(arguments.seed).sample(range(len(names)), arguments.images))
    scored = set(official_list(config.split)) if config.get('split') else set()
    known = [names[index] for index in chosen if Path(names[index]).name in scored]
    if known:
        raise BenchError(
            f'these images are scored by {config.dataset}: {some(known)}; name those of the training split: '
            'test_dataloader.dataset.ann_file, and data_prefix where they lie elsewhere'
        )
    make_folder('--out', arguments.out.parent)

    model = MODELS.build(config.model).eval().to('cuda' if torch.cuda.is_available() else 'cpu')
    losses = []

    def tell(epoch: int, loss: float) -> None:
        losses.append(loss)
        print(f'epoch {epoch} of {EPOCHS}: loss {loss:.4f}', flush=True)

    items = (dataset[index] for index in chosen)
    prepared = ((model.data_preprocessor(dict(inputs=[item['inputs']]))['inputs'][0], item) for item in items)
    images = ((image, item['data_samples'].gt_sem_seg.data[0].to(image.device)) for image, item in prepared)
    matrix = learn_projection(model, images, dataset.ignore_index, arguments.seed, tell)
    about = dict(config=label, images=' '.join(names[index] for index in chosen), seed=arguments.seed)
    write_projection(arguments.out, matrix, model.backbone, dict(about, epochs=EPOCHS, rate=RATE, losses=losses))
    print(arguments.out)
