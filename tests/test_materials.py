"""The Materials benchmark: what it draws, what its tiny CLIP knows, and how the suite runs it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import COMMAND, run_here
from torch.utils.data import DataLoader

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.bundled import CONFIGS, PRETRAINED
from naclip_bench.checks.start import build_dataset
from naclip_bench.configuration import HELPERS, load_config, method_bases
from naclip_bench.datasets.check import image_names
from naclip_bench.datasets.materials import scene as scene_module
from naclip_bench.datasets.materials.captions import caption
from naclip_bench.datasets.materials.dataset import test_scene as scene_of
from naclip_bench.datasets.materials.scene import BACKDROPS, TEXTURES, draw_scene
from naclip_bench.datasets.materials.textures import GROUNDS, MATERIALS
from naclip_bench.datasets.same_images import SameImages, image_key
from naclip_bench.errors import BenchError
from naclip_bench.tables.tables import find_table
from naclip_bench.vocabulary import Vocabulary

TOOLS = COMMAND.parent
WEIGHTS = PRETRAINED / 'materials.safetensors'

#: sha256 of image and labels of the first test images.
DRAWN = {
    '00000': '06a923f41e4fa4af51b7061e1c1a9add4f5fbb1d12b3956e000d5270a226f748',
    '00001': 'e437b807a41c7ade059658be4b6ea310a27f4cdaccf45eb582e56a09a8499ad1',
    '00199': 'bf9ecfa5dd272a3d9a59faaddfd913dcd1f554e0a5aa6f73399ec21c77340a1f',
}

#: As FrozenCLIP computes it; a new training changes it.
WEIGHTS_HASH = '6388ec0162526e318dcfb714fbd14cc8ac3afb103f6bce312223395e154f5f69'


def config_of(name: str, **dataset: object) -> dict:
    config = load_config(name)
    config.test_dataloader.dataset.update(dataset)
    return config


@pytest.mark.parametrize('name', DRAWN)
def test_a_seed_draws_the_same_bytes_everywhere(name):
    scene = scene_of(name)
    assert hashlib.sha256(scene.image.tobytes() + scene.labels.tobytes()).hexdigest() == DRAWN[name]


def test_workers_and_order_change_no_byte():
    dataset = build_dataset(config_of('naclip_materials25', count=6).test_dataloader.dataset)

    def items(order: list[int], workers: int) -> dict[int, tuple[bytes, bytes]]:
        scene_of.cache_clear()
        loader = DataLoader(dataset, sampler=order, batch_size=None, num_workers=workers)
        samples = [(item['inputs'], item['data_samples']) for item in loader]
        return {
            sample.sample_idx: (image.numpy().tobytes(), sample.gt_sem_seg.data.numpy().tobytes())
            for image, sample in samples
        }

    assert items([0, 1, 2, 3, 4, 5], 0) == items([5, 3, 1, 4, 2, 0], 2)


def test_images_are_of_the_stated_sizes_and_show_every_class():
    scenes = [scene_of(f'{seed:05d}') for seed in range(60)]
    short, long = zip(*(sorted(scene.labels.shape) for scene in scenes), strict=True)
    assert min(short) >= 80 and max(short) <= 112 and min(short) < 96 < max(short)
    assert all(1 <= b / a <= 1.5 for a, b in zip(short, long, strict=True))
    assert set().union(*(np.unique(scene.labels).tolist() for scene in scenes)) == set(range(25))


def test_test_training_and_validation_never_share_a_seed():
    assert len({scene_module.TEST, scene_module.TRAINING, scene_module.VALIDATION}) == 3


def test_a_mask_says_exactly_where_a_texture_is(monkeypatch):
    """A white texture on a black ground, without light: half of white and more is the mask, to the pixel."""
    monkeypatch.setattr(scene_module, '_light', lambda rng, image: image)

    def paint(texture, rng, rows, columns):
        return np.full((rows[1] - rows[0], columns[1] - columns[0], 3), float(texture in TEXTURES))

    labels = set()
    for seed in range(60):
        scene = draw_scene(np.random.default_rng(seed), 64, 80, 1, paint)
        inside = scene.labels > 0
        if inside.any():
            assert ((scene.image > scene.image.max(axis=(0, 1)) / 2).all(-1) == inside).all()
            labels |= set(scene.labels[inside].tolist())
    assert len(labels) > 15


def test_later_regions_lie_over_earlier_ones(monkeypatch):
    monkeypatch.setattr(scene_module, '_light', lambda rng, image: image)
    monkeypatch.setattr(scene_module, 'step', lambda x, low, high: 0 * x)  # no shadows
    order = []

    def paint(texture, rng, rows, columns):
        order.append(texture)
        return np.full((rows[1] - rows[0], columns[1] - columns[0], 3), 4.0 ** (len(order) - 1))

    for seed in range(20):
        order.clear()
        scene = draw_scene(np.random.default_rng(seed), 64, 80, 4, paint)
        painted = [TEXTURES.index(texture) + 1 for texture in order[1:]]
        # Away from edges a pixel has the color of its label's turn, up to the region's own brightness.
        turns = np.zeros(25)
        turns[painted] = np.arange(1, len(order))
        pure = np.abs(np.log(scene.image / 4.0 ** turns[scene.labels][..., None]) / np.log(4)).max(-1) < 0.3
        assert pure.mean() > 0.9


def test_finer_images_are_the_same_scene():
    coarse, fine = scene_of('00006').labels, scene_of('00006', 3).labels
    assert fine.shape == tuple(3 * side for side in coarse.shape)
    assert (fine[1::3, 1::3] == coarse).mean() > 0.97


def test_class_sets():
    with_ground, without = (
        build_dataset(config_of(name, count=2).test_dataloader.dataset)
        for name in ('naclip_materials25', 'naclip_materials24')
    )
    assert with_ground.metainfo['classes'] == ('background', *without.metainfo['classes'])
    assert image_names(with_ground) == image_names(without) == ['00000', '00001']
    for k in range(2):
        labels = scene_of(f'{k:05d}').labels.astype(int)
        assert (with_ground[k]['data_samples'].gt_sem_seg.data[0].numpy() == labels).all()
        assert (without[k]['data_samples'].gt_sem_seg.data[0].numpy() == np.where(labels == 0, 255, labels - 1)).all()


def test_a_count_that_is_none_is_said_in_one_line():
    with pytest.raises(BenchError, match='count is 0; it must be a whole number'):
        build_dataset(config_of('naclip_materials25', count=0).test_dataloader.dataset)


def test_class_names_are_the_words_of_the_captions():
    lines = [list(words) for words in MATERIALS.values()]
    assert Vocabulary('materials24').classes == lines
    assert Vocabulary('materials25').classes == [list(GROUNDS.values()), *lines]


def test_a_caption_names_what_is_seen_and_nothing_else():
    class_of = {word: index for index, words in enumerate(MATERIALS.values()) for word in words}
    # What stands around the words in each template.
    templates = [re.compile(re.escape(template('\0')).replace('\0', '(.*)')) for template in OPENAI_IMAGENET_TEMPLATES]
    grounds_named = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = draw_scene(rng, 64, 64, seed % 4 + 1)
        text = caption(rng, scene)
        readings = [match[1] for template in templates if (match := template.fullmatch(text))]
        words, _, ground = min(readings, key=len).partition(' on ')
        grounds_named += bool(ground)
        assert ground in ('', GROUNDS[BACKDROPS[scene.ground]])
        named = {class_of[word] for word in re.split(', | and ', words)} if scene.seen() else set()
        assert named == set(scene.seen())
    assert 10 < grounds_named < 50


def test_both_class_sets_share_a_pass():
    configs = {
        name: config_of(f'naclip_{name}', count=3).test_dataloader.dataset for name in ('materials25', 'materials24')
    }
    keys = {image_key(config, {}) for config in configs.values()}
    assert len(keys) == 1
    assert image_key(config_of('naclip_materials24', count=4).test_dataloader.dataset, {}) not in keys
    shared = SameImages({name: build_dataset(config) for name, config in configs.items()})
    for index in range(3):
        item = shared[index]
        for name, config in configs.items():
            alone = build_dataset(config)[index]
            assert (item['inputs'] == alone['inputs']).all()
            for of in (item, SameImages({name: build_dataset(config)})[index]):
                assert 'gt_sem_seg' not in of['data_samples'], 'a truth crosses once'
                assert (of['data_samples'].truths[name] == alone['data_samples'].gt_sem_seg.data[0]).all()


# ---- the tiny CLIP


def test_bundled_weights():
    assert WEIGHTS.stat().st_size <= 8e6
    with safe_open(WEIGHTS, 'pt') as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    clip = FrozenCLIP('materials', 'materials')
    assert (clip.weights_name, clip.arch, clip.random_weights) == ('materials', 'materials', False)
    assert clip.weights_hash == WEIGHTS_HASH
    assert FrozenCLIP(str(PRETRAINED / 'materials.json'), str(WEIGHTS)).weights_hash == WEIGHTS_HASH


def test_zero_shot_classification():
    """A tenth of what tools/materials_table.py runs."""
    accuracy, low, high = runpy.run_path(str(TOOLS / 'materials_table.py'))['zero_shot'](100)
    assert low < accuracy < high or accuracy == 100
    assert accuracy >= 90


def test_the_table_of_methods_and_a_page_that_compares_two(capfd, tmp_path):
    """All methods in one pass; thumbnails are drawn, since there are no files."""
    store = ('--store', tmp_path / 'store', '--limit', '2')
    compare = ('--compare', 'CLIP', 'NACLIP', '--out', tmp_path / 'out')
    outcome = run_here(capfd, ['materials/methods', *store, *compare], TOOLS / 'reproduce.py')
    assert outcome.code == 0, outcome.stderr
    assert 'a number of any paper' in outcome.stdout and 'NOT THE BENCHMARK' in outcome.stdout
    page = (tmp_path / 'out' / 'table.html').read_text()
    assert 2 <= page.count('<img src="data:image/jpeg;base64,') <= 4
    assert page.count('its ground truth and both predictions') == page.count('<img src=')
    assert 'Made by <code class="command">naclip-bench reproduce materials/methods --store' in page
    assert 'cannot be drawn' not in page and page.count('<svg role="img"') == 1
    outcome = run_here(capfd, [*store, '--classified', '10'], TOOLS / 'materials_table.py')
    assert outcome.code == 0, outcome.stderr
    rows = [line for line in outcome.stdout.splitlines() if line.startswith('|')]
    assert len(rows) == 2 + len(find_table('materials/methods').rows)
    assert '2 of 200' in outcome.stdout and 'a number of any paper' in outcome.stdout


def test_every_method_on_clip_alone_is_in_the_table_and_has_recorded_values():
    alone = {name for name in method_bases() if not {*HELPERS} & {*load_config(f'{name}_materials24').model}}
    rows = find_table('materials/methods').rows
    assert {row.config.removesuffix('_{dataset}') for row in rows} == alone
    recorded = {entry['config'] for entry in json.loads((CONFIGS / 'expected.json').read_text())['expected']}
    assert recorded >= {f'{method}_{dataset}' for method in alone for dataset in ('materials24', 'materials25')}


def run(capfd: pytest.CaptureFixture, work_dir: Path, config: str, *more: str) -> dict:
    arguments = [
        config,
        '--limit',
        '24',
        '--work-dir',
        work_dir,
        *more,
        '--cfg-options',
        'test_dataloader.num_workers=0',
    ]
    outcome = run_here(capfd, arguments)
    assert outcome.code in (0, None), outcome.stderr
    assert 'stand-in' in outcome.stdout
    return json.loads((work_dir / 'result.json').read_text())


def test_naclip_beats_clip_and_says_what_it_is(capfd, tmp_path):
    """The command as the README has it, but for the number of images."""
    result = run(capfd, tmp_path / 'naclip', 'naclip_materials24', '--show-dir', str(tmp_path / 'drawn'))
    assert result['images']['official'] == 200 and 'stand-in' in result['note']
    with Image.open(tmp_path / 'drawn' / '00000.png') as overlay:
        assert overlay.width > 3 * scene_of('00000').labels.shape[1]
    # A folder of other datasets is no matter to drawn images.
    clip = run(capfd, tmp_path / 'clip', 'clip_materials24', '--data-root', '/nowhere')
    assert result['metrics']['mIoU'] >= 2 * clip['metrics']['mIoU']


def test_training_writes_weights_that_load(capfd, tmp_path, monkeypatch):
    script = runpy.run_path(str(TOOLS / 'train_materials_clip.py'))
    main = script['main']
    monkeypatch.setitem(main.__globals__, 'SWATCHES', 1)
    monkeypatch.setattr('sys.argv', ['train', '--steps', '2', '--batch', '4', '--out', str(tmp_path)])
    threads = torch.get_num_threads()
    main()
    torch.set_num_threads(threads)
    log = [*csv.DictReader((tmp_path / 'log.csv').read_text().splitlines())]
    assert [entry['batch'] for entry in log] == ['1', '2'] and 0 <= float(log[-1]['accuracy']) <= 1
    assert Image.open(tmp_path / 'log.png').width > 500
    outcome = run_here(capfd, ['--curve', __file__, tmp_path / 'curve.png'], TOOLS / 'train_materials_clip.py')
    assert outcome.code == 1 and 'as a log of the training' in outcome.stderr
    trained = tmp_path / 'materials.safetensors'
    assert FrozenCLIP('materials', str(trained)).weights_hash != WEIGHTS_HASH
    first = {key: value.clone() for key, value in load_file(trained).items()}
    # Going on at no learning rate gives the weights that it began with.
    monkeypatch.setattr('sys.argv', [*sys.argv, '--start', str(trained), '--lr', '0'])
    main()
    torch.set_num_threads(threads)
    assert all(torch.equal(value, first[key]) for key, value in load_file(trained).items())


def test_weights_are_mixed_by_their_mean(capfd, tmp_path):
    """In fp32, parameter by parameter; what does not fit is refused by name."""
    files = {name: tmp_path / f'{name}.safetensors' for name in ('one', 'two', 'other')}
    save_file(dict(a=torch.tensor([1.0, 60000.0]).half()), files['one'])
    save_file(dict(a=torch.tensor([2.0, 60000.0]).half()), files['two'])
    save_file(dict(a=torch.zeros(1).half()), files['other'])
    arguments = ['--out', tmp_path / 'mean', '--mean', files['one']]
    outcome = run_here(capfd, [*arguments, files['two']], TOOLS / 'train_materials_clip.py')
    assert outcome.code in (0, None), outcome.stderr
    assert load_file(tmp_path / 'mean' / 'materials.safetensors')['a'].tolist() == [1.5, 60000]
    outcome = run_here(capfd, [*arguments, files['other']], TOOLS / 'train_materials_clip.py')
    assert outcome.code == 1 and 'other.safetensors holds other parameters than' in outcome.stderr


def test_training_leans_on_the_last_attention():
    """In training the image is what the last attention brought to [CLS]; otherwise the model is untouched."""
    lean = runpy.run_path(str(TOOLS / 'train_materials_clip.py'))['lean_on_attention']
    clip = FrozenCLIP('materials', 'materials')
    visual, block = clip.clip.visual, clip.blocks[-1]
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tokens = []
    visual.transformer.resblocks[-1].register_forward_pre_hook(lambda module, inputs: tokens.append(inputs[0]))
    whole = visual(images)
    alone = visual.ln_post(block.attention(tokens[0])[:, 0]) @ visual.proj
    lean(clip.clip, 1.0)
    torch.testing.assert_close(visual.train()(images), alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(visual.eval()(images), whole, atol=1e-4, rtol=1e-4)


def test_every_method_has_both_configs():
    methods = [path.stem for path in (CONFIGS / '_base_' / 'methods').glob('*.py')]
    for name in (f'{method}_materials{classes}' for method in methods for classes in (24, 25)):
        config = load_config(name)
        assert (config.model.window, config.model.stride, config.model.backbone.pretrained) == (64, 32, 'materials')
        assert config.model.get('prob_thd', 0) == (0.1 if name.endswith('25') else 0)
