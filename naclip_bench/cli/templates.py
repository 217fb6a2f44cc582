"""Choose the prompt templates of each class by entropy (FLOSS).

The images are those of a config; no labels are read.

naclip-bench templates naclip_voc21 --limit 200 --out work_dirs/voc21_templates.json
naclip-bench test naclip_voc21 --cfg-options \\
    model.templates=work_dirs/voc21_templates.json
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BenchError
from .arguments import add_config_arguments, add_part, config_of


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    add_part(parser)
    add = parser.add_argument
    add('--out', type=Path, required=True, metavar='FILE', help='the templates of each class, a .json file')
    add('--experts', type=int, default=4, metavar='N', help='how many a class (default: %(default)s, the paper)')


def main(arguments: Namespace) -> None:
    label, config = config_of(arguments)

    import torch
    from mmengine.dataset import Compose
    from mmseg.datasets.transforms import LoadAnnotations
    from rich.progress import track

    from ..console import screen
    from ..datasets.check import image_names, open_dataset, select
    from ..datasets.loading import LoadMask
    from ..datasets.splits import official_list
    from ..evaluation.config_check import check_config
    from ..files import make_folder
    from ..methods.template_choice import choose_templates
    from ..vocabulary import Vocabulary, write_choice

    check_config(config)
    if arguments.out.suffix != '.json':
        raise BenchError(f'--out is {arguments.out}; its name must end in .json, as templates are told by that')
    if arguments.experts < 1:
        raise BenchError(f'--experts is {arguments.experts}; it must be 1 or more')
    vocabulary = Vocabulary(config.model.class_names, config.model.get('templates', 'openai_80'))
    dataset = open_dataset(config.test_dataloader.dataset)
    names = image_names(dataset)
    indices = select(names, arguments.limit, arguments.subset, dataset.img_suffix)
    # Masks need not be there.
    dataset.pipeline = Compose(
        [step for step in dataset.pipeline.transforms if not isinstance(step, (LoadMask, LoadAnnotations))]
    )
    make_folder('--out', arguments.out.parent)

    images = (dataset[index]['inputs'] for index in indices)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    shown = track(images, 'choosing templates', len(indices), console=screen(), transient=True)
    found, model = choose_templates(config.model, vocabulary.templates, shown, arguments.experts, device)
    scored = set(official_list(config.split)) if config.get('split') else {Path(name).name for name in names}
    known = [names[index] for index in indices if Path(names[index]).name in scored]
    about = {
        'config': label,
        'images': len(indices),
        'scored': len(known),
        'experts': arguments.experts,
        'weights': model.backbone.weights_hash,
        'names': [names[index] for index in indices],
    }
    lines = {', '.join(words): of for words, of in zip(vocabulary.classes, found, strict=True) if words}
    write_choice(arguments.out, lines, about)
    if model.backbone.random_weights:
        print('note: the weights are random, and so is the choice')
    if known:
        print(f'note: {len(known)} of {len(indices)} images are among those that {config.dataset} scores')
    print(arguments.out)
