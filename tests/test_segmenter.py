"""A segmenter gives what the benchmark gives, with words that change and nothing loaded again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import run_here

import naclip_bench
from naclip_bench.backbones import weights as loading
from naclip_bench.datasets.materials.dataset import CLASSES
from naclip_bench.datasets.materials.dataset import test_scene as drawn
from naclip_bench.errors import BenchError
from naclip_bench.inference import pipeline
from naclip_bench.segment import running
from naclip_bench.segment.segmenter import Segmenter
from naclip_bench.segment.words import parse_classes


class Silent:
    """In place of pytest's capture, which a fixture of a module cannot have."""

    def readouterr(self) -> tuple[str, str]:
        return '', ''


IMAGES = [f'{seed:05d}' for seed in range(4)]
WORDS = ['grass, lawn', 'brick', ('water', 'sea'), 'gold']


def scene(name: str = '00000', scale: int = 1) -> np.ndarray:
    return drawn(name, scale).image


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter('naclip', WORDS, weights='materials', device='cpu')


@pytest.fixture(scope='module')
def predictions(tmp_path_factory) -> dict[str, Path]:
    """What ``naclip-bench test`` saves of Materials, without and with a background."""
    out, found = tmp_path_factory.mktemp('predictions'), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        for config in ('naclip_materials24', 'naclip_materials25', 'sclip_materials24'):
            found[config] = out / config
            arguments = [config, '--limit', len(IMAGES), '--save-predictions', found[config]]
            arguments += ['--store', out / 'store', '--cfg-options', 'test_dataloader.num_workers=0']

            assert run_here(Silent(), arguments).code == 0
    return found


@pytest.mark.parametrize(
    ('config', 'method', 'how', 'first'),
    [
        ('naclip_materials24', 'naclip', dict(classes='materials24', weights='materials'), 1),
        ('naclip_materials24', 'naclip_materials24', {}, 1),
        ('sclip_materials24', 'sclip', dict(classes='materials24', weights='materials'), 1),
        ('naclip_materials25', 'naclip', dict(classes='materials24', weights='materials', background=True), 0),
    ],
)
def test_labels_are_those_of_the_benchmark(predictions, config, method, how, first):
    segment = Segmenter(method, device='cpu', **how)
    for name, result in zip(IMAGES, segment([scene(name) for name in IMAGES]), strict=True):
        stored = np.asarray(Image.open(predictions[config] / f'{name}.png'))
        assert (result.labels + first == stored).all()
        assert len(np.unique(stored)) > 2


def test_words_change_without_loading(segmenter, monkeypatch):
    monkeypatch.setattr(loading, 'load_clip', None)
    other = segmenter.with_classes(['zebra', 'marble', 'brick'])
    assert (segmenter.names, other.names) == (('grass', 'brick', 'water', 'gold'), ('zebra', 'marble', 'brick'))
    assert other.member.backbone is segmenter.member.backbone
    before = segmenter(scene()).labels
    alone = Segmenter('naclip', ['zebra', 'marble', 'brick'], weights='materials', device='cpu')
    assert (other(scene()).labels == alone(scene()).labels).all()
    assert (segmenter(scene()).labels == before).all()
    changed = segmenter.with_classes(WORDS)
    changed.classes = ['zebra', 'marble', 'brick']
    assert (changed(scene()).labels == alone(scene()).labels).all()
    with pytest.raises(BenchError, match='two classes'):
        changed.classes = ['zebra', 'Zebra']
    assert changed.names == ('zebra', 'marble', 'brick')


def test_every_kind_of_image_is_one_image(segmenter, tmp_path):
    image, path = scene(), tmp_path / 'a.png'
    Image.fromarray(image).save(path)
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    given = [path, str(path), path.read_bytes(), Image.fromarray(image), image, image / np.float32(255), tensor]
    given += [tensor / 255, image.astype(np.uint16) * 257]
    results = segmenter(given)
    for result in results:
        assert (result.image == image).all()
        assert (result.labels == results[0].labels).all()


def test_probabilities_are_those_that_decide(segmenter, tmp_path):
    result = segmenter(scene(), probabilities=True)
    assert result.probabilities.shape == (4, *result.labels.shape)
    assert (result.probabilities.argmax(0) == result.labels).all()
    logits = segmenter.member.encode_decode(
        [running._normalized(segmenter.member, [running.model_input(segmenter, scene())])[0]],
        [running.SegDataSample(metainfo=dict(ori_shape=result.labels.shape))],
    )[0]
    every = (segmenter.member.logit_scale * logits).softmax(0)
    expected = torch.stack([every[:2].amax(0), every[2], every[3:5].amax(0), every[5]])
    assert np.abs(result.probabilities - expected.numpy()).max() < 1e-5
    stored = segmenter(scene(), probabilities=tmp_path / 'soft.npy')
    assert isinstance(stored.probabilities, np.memmap)
    assert (np.load(tmp_path / 'soft.npy') == result.probabilities).all()


def test_threshold_of_a_class_makes_its_pixels_background():
    free = Segmenter('naclip', WORDS, background=['plaster'], threshold=0, weights='materials', device='cpu')
    soft = free(scene(), probabilities=True)
    limits = {'brick': 0.6, 'gold': 0.3}
    limited = Segmenter('naclip', WORDS, background=['plaster'], threshold=limits, weights='materials', device='cpu')
    each = np.array([0.1, 0.1, 0.6, 0.1, 0.3])[soft.labels]
    best = soft.probabilities.max(0)
    expected = np.where(best < each, 0, soft.labels)
    clear = np.abs(best - each) > 1e-4
    assert (limited(scene()).labels == expected)[clear].all()
    assert (expected != soft.labels).any() and (expected == 2).any()


def test_background_words_leave_out_those_of_the_classes():
    segmenter = Segmenter('naclip', ['road', 'Sky, heaven'], background=True, weights='none', device='cpu')
    background = segmenter.member.vocabulary.classes[0]
    assert segmenter.names == ('background', 'road', 'Sky') and 'tree' in background
    assert not {'road', 'sky'} & set(background)
    assert segmenter.classes == [['road'], ['Sky', 'heaven']]


def test_methods_side_by_side_share_the_trunk(segmenter, monkeypatch):
    other, alone = segmenter.with_method('sclip'), Segmenter('sclip', WORDS, weights='materials', device='cpu')
    calls = []
    monkeypatch.setattr(pipeline.FrozenCLIP, 'trunks', _counted(pipeline.FrozenCLIP.trunks, calls))
    pictures = [running.Picture('a', scene())]
    both = running.segment_pictures([segmenter, other], pictures)
    assert len(calls) == 1
    assert (both[0][0].labels == segmenter(scene()).labels).all()
    assert (both[1][0].labels == alone(scene()).labels).all()
    assert (both[0][0].labels != both[1][0].labels).any()


def test_settings_change_without_loading(segmenter, monkeypatch):
    monkeypatch.setattr(loading, 'load_clip', None)
    changes = dict(background=['plaster'], threshold=0.5, settings={'model.sigma': 1.0})
    other = segmenter.with_method('naclip', **changes)
    assert other.names == ('background', *segmenter.names) and other.member.backbone is segmenter.member.backbone
    monkeypatch.undo()
    alone = Segmenter('naclip', WORDS, weights='materials', device='cpu', **changes)
    assert (other(scene()).labels == alone(scene()).labels).all()
    assert segmenter.with_method('naclip', ['gold'], threshold=None).names == ('gold',)
    with pytest.raises(BenchError, match='give background=True'):
        segmenter.with_method('naclip', threshold=0.5)


def _counted(function, calls):
    def counting(*args, **kwargs):
        calls.append(1)
        return function(*args, **kwargs)

    return counting


def test_pipe_gives_what_transformers_pipelines_give(segmenter):
    found = segmenter.pipe(Image.fromarray(scene()))
    result = segmenter(scene(), probabilities=True)
    for segment in found:
        assert set(segment) == {'label', 'score', 'mask'} and 0 < segment['score'] <= 1
        assert segment['mask'].mode == 'L' and segment['mask'].size == scene().shape[1::-1]
        assert ((np.asarray(segment['mask']) == 255) == result.mask(segment['label'])).all()
    assert [segment['label'] for segment in found] == [name for name, pixels in result.areas.items() if pixels]
    assert len(segmenter.pipe([scene(), scene('00001')])) == 2


def test_saved_and_made_again(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path / 'mine')
    again = naclip_bench.Segmenter.from_pretrained(tmp_path / 'mine', device='cpu')
    assert again.fingerprint == segmenter.fingerprint
    assert (again(scene()).labels == segmenter(scene()).labels).all()
    assert (tmp_path / 'mine' / 'segmenter.json').stat().st_size < 2000
    of_config = Segmenter('naclip_materials24', device='cpu')
    of_config.save_pretrained(tmp_path / 'config')
    assert Segmenter.from_pretrained(tmp_path / 'config', device='cpu').fingerprint == of_config.fingerprint
    with pytest.raises(BenchError, match='json; give a folder that save_pretrained wrote'):
        Segmenter.from_pretrained(tmp_path)


def test_local_weights_travel_with_the_folder(tmp_path):
    from naclip_bench.bundled import PRETRAINED

    weights = tmp_path / 'mine.safetensors'
    weights.write_bytes((PRETRAINED / 'materials.safetensors').read_bytes())
    settings = {'model.window': 64, 'model.stride': 32}
    own = Segmenter('naclip', WORDS, weights=weights, arch='materials', device='cpu', short_side=96, settings=settings)
    own.save_pretrained(tmp_path / 'saved')
    weights.unlink()
    again = Segmenter.from_pretrained(tmp_path / 'saved', device='cpu')
    assert (again(scene()).labels == own(scene()).labels).all()


def test_fingerprint_knows_what_decides_labels(segmenter):
    prints = {segmenter.fingerprint, segmenter.with_classes(['gold']).fingerprint}
    prints |= {segmenter.with_method('sclip').fingerprint}
    for how in (dict(short_side=64), dict(settings={'model.sigma': 2.0}), dict(background=['felt'])):
        prints.add(Segmenter('naclip', WORDS, weights='materials', device='cpu', **how).fingerprint)
    assert len(prints) == 6
    faster = Segmenter('naclip', WORDS, weights='materials', device='cpu', settings={'model.window_batch': 3})
    assert faster.fingerprint == segmenter.fingerprint


@pytest.mark.parametrize(
    ('how', 'said'),
    [
        (dict(classes=[]), 'there are no words'),
        (dict(classes=None), 'there are no words'),
        (dict(classes=' , '), 'there are no words'),
        (dict(classes=['dog', ' ']), 'is no word'),
        (dict(classes=['dog', 'cat, dog']), 'stands in two classes'),
        (dict(classes=['dog ' * 90]), 'CLIP reads 40 tokens, and "dog dog'),
        (dict(classes='dog ' * 90), 'CLIP reads 40 tokens, and "dog dog'),
        (dict(classes=['dog'], background=['dog']), 'both of the background and of a class'),
        (dict(classes=['dog'], threshold=0.2), 'give background=True'),
        (dict(classes=['dog'], background=True, threshold=2), 'a number from 0 to 1'),
        (dict(classes=['dog'], background=True, threshold={'dig': 0.2}), 'did you mean "dog"'),
        (dict(classes=['dog'], device='tpu'), 'device is tpu'),
        (dict(classes=['dog'], device='xpu'), 'there is no xpu here'),
        (dict(classes=['dog'], short_side=0), 'short_side is 0'),
        (dict(classes=['dog'], templates=['a photo']), 'must have a {}'),
        (dict(classes=['dog'], method='naclop'), 'did you mean "naclip"'),
        (dict(classes=['dog'], settings={'model.sigmo': 1}), 'did you mean "sigma"'),
        (dict(classes=['dog'], weights='no/such.pt'), 'there is no file no/such.pt'),
        (dict(classes=['dog'], weights='openai'), 'or, to try things out, weights "materials"'),
    ],
)
def test_mistakes_are_one_line(how, said, monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    with pytest.raises(BenchError) as caught:
        Segmenter(**{'weights': 'materials', 'device': 'cpu', 'method': 'naclip', **how})
    assert said in str(caught.value) and '\n' not in str(caught.value)


def test_where_a_helper_lacks_weights_no_other_clip_is_offered(monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    with pytest.raises(BenchError, match='"dino" of vit_base_patch8_224 cannot be had') as caught:
        Segmenter('proxyclip', ['dog'], weights='materials', device='cpu')
    assert 'materials' not in str(caught.value) and 'let them be downloaded once' in str(caught.value)


def test_words_as_text():
    assert parse_classes('dog, boat') == [['dog'], ['boat']]
    assert parse_classes('dog, puppy; boat') == [['dog', 'puppy'], ['boat']]
    assert [words[0] for words in parse_classes('materials24')] == list(CLASSES)


def test_templates_of_ones_own_decide(segmenter):
    own = Segmenter('naclip', WORDS, weights='materials', device='cpu', templates=['ein Foto von {}.'])
    assert own.member.vocabulary.templates == ('ein Foto von {}.',)
    assert not torch.equal(own.member.text.vectors, segmenter.member.text.vectors)


def test_result_shows_itself_in_a_notebook(segmenter):
    result = segmenter(scene())
    assert Image.open(io.BytesIO(result._repr_png_())).format == 'PNG'
    assert repr(result).startswith(f'Segmentation({result.labels.shape[0]} x {result.labels.shape[1]}: ')
