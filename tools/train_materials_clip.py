"""Train the tiny CLIP of the Materials benchmark from nothing, on drawn scenes and their captions alone.

python tools/train_materials_clip.py --steps 1500 --out work_dirs/materials_clip
python tools/train_materials_clip.py --curve docs/materials_training.csv curve.png     draw a log, train nothing
python tools/train_materials_clip.py --mean a.safetensors b.safetensors --out mean     mix weights, train nothing
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import open_clip
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from naclip_bench.datasets.materials.captions import caption
from naclip_bench.datasets.materials.scene import (
    BACKDROPS,
    TEXTURES,
    TRAINING,
    VALIDATION,
    Scene,
    draw_scene,
    paint_afresh,
    single_scenes,
)
from naclip_bench.datasets.materials.textures import MATERIALS, Texture
from naclip_bench.datasets.preprocessor import MEAN, STD
from naclip_bench.errors import BenchError, CommandParser, run_command

ARCH = Path(__file__).resolve().parent.parent / 'naclip_bench' / 'pretrained' / 'materials.json'

#: Swatches a texture, their side, and how many of all are drawn anew after each batch.
SWATCHES, SIDE, RENEWED = 160, 96, 8

#: Batches until the learning rate is reached.
WARMUP = 80

#: Share of scenes with a single material at the start and from the middle on.
SINGLE = (0.9, 0.25)

#: Learning rate of a vision block by that of the block behind it.
PACE = 0.75


class Swatches:
    """Textures cut out of ready swatches, an order of magnitude faster than drawing each afresh."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.drawn = rng, 0
        self.order = [*TEXTURES, *BACKDROPS]
        self.pool = {texture: np.empty((SWATCHES, SIDE, SIDE, 3), np.uint8) for texture in self.order}
        self.renew(SWATCHES * len(self.order))

    def renew(self, count: int) -> None:
        paint = paint_afresh()
        for _ in range(count):
            texture = self.order[self.drawn % len(self.order)]
            swatch = 255 * paint(texture, self.rng, (0, SIDE), (0, SIDE))
            self.pool[texture][self.drawn // len(self.order) % SWATCHES] = np.clip(np.rint(swatch), 0, 255)
            self.drawn += 1

    def __call__(
        self, texture: Texture, rng: np.random.Generator, rows: tuple[int, int], columns: tuple[int, int]
    ) -> np.ndarray:
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
        return self.pool[texture][rng.integers(SWATCHES), top : top + height, left : left + width] / 255


class ScenesAndCaptions(torch.utils.data.IterableDataset):
    """Batches of images (B, 3, 64, 64) uint8 and captions (B, context_length)."""

    def __init__(
        self, seed: int, batch: int, size: int, tokenize: open_clip.SimpleTokenizer, single: tuple[float, float]
    ) -> None:
        self.seed, self.batch, self.size, self.tokenize, self.single = seed, batch, size, tokenize, single
        self.progress = torch.zeros(1).share_memory_()  # 0..1, set by the trainer in another process

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([TRAINING, self.seed])
        swatches = Swatches(rng)
        while True:
            single = np.interp(self.progress.item(), [0, 0.5], self.single)
            drawn, captions = [], []
            for _ in range(self.batch):
                regions = 1 if rng.random() < single else int(rng.integers(2, 6))
                scene = draw_scene(rng, self.size, self.size, regions, swatches)
                drawn.append(scene)
                captions.append(caption(rng, scene))
            yield images_of(drawn), self.tokenize(captions)
            swatches.renew(RENEWED)


def images_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """(N, 3, H, W) uint8, RGB."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)


def normalized(images: torch.Tensor) -> torch.Tensor:
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() - mean) / deviation


@torch.no_grad()
def accuracy(model: CLIP, images: torch.Tensor, labels: torch.Tensor, tokenize: open_clip.SimpleTokenizer) -> float:
    """Zero-shot accuracy by the first name of each material in seven of the templates."""
    model.eval()
    templates = OPENAI_IMAGENET_TEMPLATES[::12]
    prompts = tokenize([template(words[0]) for words in MATERIALS.values() for template in templates])
    texts = normalize(model.encode_text(prompts), dim=-1).unflatten(0, (len(MATERIALS), len(templates))).mean(1)
    guesses = (model.encode_image(normalized(images)) @ normalize(texts, dim=-1).T).argmax(-1)
    return (guesses == labels).float().mean().item()


def parameter_groups(model: CLIP) -> list[dict]:
    """Parameters by their share of the learning rate: the earlier a vision block, the slower it learns.

    Otherwise [CLS] reads the materials off the patches in the first blocks already, and the last one, which all methods
    build on, is left with little to say.
    """
    blocks = len(model.visual.transformer.resblocks)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, value in model.named_parameters():
        block = name.removeprefix('visual.transformer.resblocks.').split('.')[0]
        pace = PACE ** (blocks - 1 - int(block)) if block.isdigit() else 1.0
        groups.setdefault((pace, 0.1 if value.ndim >= 2 else 0.0), []).append(value)
    return [dict(params=values, pace=pace, weight_decay=decay) for (pace, decay), values in groups.items()]


def lean_on_attention(model: CLIP, share: float) -> None:
    """While training, let the last vision block give its attention's output alone for this share of images.

    Residual and feed-forward network are left out then, as stochastic depth leaves out a branch. Otherwise [CLS] reads
    some materials off the patches in earlier blocks and carries them past the last attention in the residual; its
    values, which all methods build on, then never learn to tell these materials.
    """
    block, kept = model.visual.transformer.resblocks[-1], []

    def keep(module: torch.nn.Module, inputs: tuple, output: tuple) -> None:
        if module.training:
            kept.append(output[0])

    def choose(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor | None:
        return torch.where(torch.rand(len(output), 1, 1) < share, kept.pop(), output) if module.training else None

    block.attn.register_forward_hook(keep)
    block.register_forward_hook(choose)


def save(weights: dict[str, torch.Tensor], path: Path) -> None:
    """fp16 weights, written beside and renamed so that a usable file is there at any time."""
    temporary = path.with_suffix('.tmp')
    save_file({key: value.half().contiguous() for key, value in weights.items()}, temporary)
    temporary.replace(path)


def mean_of(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of each parameter: runs from the same start with other seeds, as one model better than each of them."""
    first, *others = models = [load_file(file) for file in files]
    for file, other in zip(files[1:], others, strict=True):
        if {key: value.shape for key, value in other.items()} != {key: value.shape for key, value in first.items()}:
            raise BenchError(f'{file} holds other parameters than {files[0]}; give weights of one architecture')
    return {key: torch.stack([model[key].float() for model in models]).mean(0) for key in first}


def draw_curve(log: Path, image: Path) -> None:
    """Loss and zero-shot accuracy of a log over its batches."""
    from matplotlib.figure import Figure

    try:
        with log.open(newline='') as file:
            rows = list(csv.DictReader(file))
        losses = [(int(row['batch']), float(row['loss'])) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise BenchError(f'cannot read {log} as a log of the training: {error}') from None
    figure = Figure(figsize=(7.7, 3.3), dpi=100, layout='constrained')
    loss = figure.subplots()
    accuracy = loss.twinx()
    loss.plot(*zip(*losses, strict=True), color='tab:blue')
    measured = [(int(row['batch']), 100 * float(row['accuracy'])) for row in rows if row['accuracy']]
    if measured:
        accuracy.plot(*zip(*measured, strict=True), color='tab:red', marker='.')
    loss.set(xlabel='batch', ylim=(0, None))
    loss.set_ylabel('contrastive loss', color='tab:blue')
    accuracy.set(ylim=(0, 100))
    accuracy.set_ylabel('zero-shot accuracy, validation, %', color='tab:red')
    figure.savefig(image)


def main() -> None:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--steps', type=int, default=1800, help='batches (default: %(default)s)')
    add('--minutes', type=float, default=math.inf, help='end after so long, the whole schedule run by the clock')
    add('--batch', type=int, default=128, help='images a batch (default: %(default)s)')
    add('--lr', type=float, default=1.5e-3, help='highest learning rate (default: %(default)s)')
    add('--alone', type=float, default=0.5, help='share of images seen by the last attention alone (%(default)s)')
    add('--start', type=Path, metavar='WEIGHTS', help='go on from these, with scenes as in the second half')
    add('--seed', type=int, default=0)
    add('--threads', type=int, default=1, help='of torch (default: %(default)s)')
    add('--out', type=Path, default=Path('work_dirs/materials_clip'), help='folder of weights and log')
    add('--curve', type=Path, nargs=2, metavar=('LOG', 'PNG'), help='draw the curve of a log.csv, and train nothing')
    add('--mean', type=Path, nargs='+', metavar='WEIGHTS', help='write the mean of these, and train nothing')
    arguments = parser.parse_args()
    if arguments.curve:
        return draw_curve(*arguments.curve)
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights_path = arguments.out / 'materials.safetensors'
    if arguments.mean:
        return save(mean_of(arguments.mean), weights_path)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)

    config = json.loads(ARCH.read_text())
    model = CLIP(**config)
    size = config['vision_cfg']['image_size']
    tokenize = open_clip.SimpleTokenizer(context_length=config['text_cfg']['context_length'])
    if arguments.start:
        model.load_state_dict(load_file(arguments.start))
    lean_on_attention(model, arguments.alone)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=arguments.lr, betas=(0.9, 0.98), eps=1e-6)
    loss_of = ClipLoss()
    single = single_scenes(240, size, VALIDATION)
    validation = images_of(single), torch.tensor([scene.seen()[0] for scene in single])
    single_share = (SINGLE[1], SINGLE[1]) if arguments.start else SINGLE
    scenes = ScenesAndCaptions(arguments.seed, arguments.batch, size, tokenize, single_share)
    begin = time.perf_counter()
    log_path = arguments.out / 'log.csv'
    # A line a batch, seen at once by who follows it.
    log = csv.DictWriter(log_path.open('w', newline='', buffering=1), ('batch', 'loss', 'accuracy', 'seconds'))
    log.writeheader()
    batches = iter(torch.utils.data.DataLoader(scenes, batch_size=None, num_workers=1))
    step, progress = 0, 0.0
    while progress < 1:
        rate = arguments.lr * min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group['lr'] = rate * group['pace']
        images, captions = next(batches)
        model.train()
        # On CPUs the fused attention is slow backwards at so few tokens: twice the time a step. No bf16: where a
        # processor lacks it, that is ten times the time.
        with sdpa_kernel(SDPBackend.MATH):
            image, text, scale = model(normalized(images), captions)
        loss = loss_of(image, text, scale)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        averaged.update_parameters(model)
        step += 1
        seconds = time.perf_counter() - begin
        progress = max(step / arguments.steps, seconds / 60 / arguments.minutes)
        scenes.progress.fill_(progress)
        entry = dict(batch=step, loss=round(loss.item(), 4), seconds=round(seconds, 1))
        if step % 100 == 0 or progress >= 1:
            entry['accuracy'] = round(accuracy(averaged.module, *validation, tokenize), 4)
            save(averaged.module.state_dict(), weights_path)
        log.writerow(entry)
        if step % 20 == 0 or 'accuracy' in entry:
            print(json.dumps(entry), flush=True)
    draw_curve(log_path, log_path.with_suffix('.png'))


if __name__ == '__main__':
    run_command(main)
