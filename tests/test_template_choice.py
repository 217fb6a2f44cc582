"""Templates of each class, chosen by entropy: against a literal transcription, without labels, and told by the key."""

from __future__ import annotations

import json
import math

import pytest
import torch
from golden import TINY, random_image
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from plans import tiny_leaf
from tiny import TinyBench, run_here

from naclip_bench.backbones.text import text_of, text_vectors
from naclip_bench.bundled import CONFIGS
from naclip_bench.errors import BenchError
from naclip_bench.evaluation.leaf import Selection
from naclip_bench.evaluation.opened import OpenPass, Pass
from naclip_bench.inference.pipeline import pixel_logits
from naclip_bench.methods import template_choice
from naclip_bench.methods.template_choice import choose_templates
from naclip_bench.vocabulary import TEMPLATES, Vocabulary, write_choice

TOOL = CONFIGS.parent / 'tools' / 'templates.py'
FEW = TEMPLATES['openai_80'][:5]
SETTINGS = ConfigDict(
    type='NACLIP',
    class_names='voc21',
    backbone=dict(arch=TINY, pretrained=None),
    window=64,
    stride=32,
    logit_scale=40.0,
)
PIXELS = [(random_image(64, 96, seed)[0] * 60 + 120).clamp(0, 255) for seed in (1, 2)]


@pytest.fixture
def bench(tmp_path):
    return TinyBench(tmp_path, count=3)


def means(images):
    """H[m, k] with loops: of each template a method of its own, of each patch a softmax over all words of the file."""
    found = []
    for template in FEW:
        model = MODELS.build(SETTINGS).eval()
        model.vocabulary = vocabulary = Vocabulary('voc21', [template])
        sums, counts = [0.0] * 21, [0] * 21
        for image in images:
            normalized = model.data_preprocessor(dict(inputs=[image]))['inputs']
            ((logits,),) = pixel_logits([model], normalized, [(4, 6)])
            scores = logits.full()[vocabulary.occurrences].flatten(1).double().T.tolist()
            for of_patch in scores:
                powers = [math.exp(40.0 * (score - max(of_patch))) for score in of_patch]
                likely = [power / math.fsum(powers) for power in powers]
                said = int(vocabulary.word_class[of_patch.index(max(of_patch))])
                sums[said] -= math.fsum(q * math.log(q) for q in likely if q)
                counts[said] += 1
        found.append([total / count if count else math.inf for total, count in zip(sums, counts, strict=True)])
    return found


def test_those_of_lowest_entropy_are_chosen():
    chosen, _ = choose_templates(SETTINGS, FEW, PIXELS, experts=2)
    expected = []
    for of_class in zip(*means(PIXELS), strict=True):
        order = [place for place in sorted(range(5), key=lambda m: of_class[m]) if of_class[place] < math.inf][:2]
        expected.append([FEW[place] for place in order] or list(FEW))
    assert chosen == expected
    assert {len(of) for of in chosen} >= {2, 5} and len({tuple(of) for of in chosen}) > 2, 'else nothing is shown'


def test_entropy_is_of_words_as_often_as_they_count():
    class Logits:
        def query_block(self, queries):
            return torch.tensor([[[2.0], [1.0]]])[:, queries]

    member = type('Member', (), dict(text=(None, torch.tensor([1, 0]), torch.tensor([3.0, 1.0])), logit_scale=1.0))
    (entropy,), (said,) = template_choice.entropies(Logits(), member)
    likely = [power / (3 * math.exp(2) + math.exp(1)) for power in (*[math.exp(2)] * 3, math.exp(1))]
    assert entropy.item() == pytest.approx(-sum(q * math.log(q) for q in likely))
    assert said == 1


def choice_of(tmp_path, name='chosen.json', **changed):
    classes = {', '.join(words): FEW[:2] for words in Vocabulary('voc21').classes}
    write_choice(tmp_path / name, {**classes, **changed}, dict(images=7, scored=2))
    return str(tmp_path / name)


def test_a_file_gives_each_class_its_own(tmp_path):
    vocabulary = Vocabulary('voc21', choice_of(tmp_path, aeroplane=FEW[3:4]))
    place = vocabulary.queries.index('aeroplane')
    assert vocabulary.query_templates[place] == FEW[3:4] and vocabulary.query_templates[0] == FEW[:2]
    assert set(vocabulary.templates) == {*FEW[:2], FEW[3]} and vocabulary.chosen['images'] == 7
    backbone = MODELS.build(SETTINGS).backbone
    vectors = text_of(backbone, vocabulary).vectors
    assert torch.equal(vectors[place : place + 1], text_vectors(backbone, ['aeroplane'], FEW[3:4]))
    assert torch.equal(vectors[:1], text_vectors(backbone, vocabulary.queries[:1], FEW[:2]))
    assert vocabulary != Vocabulary('voc21', FEW[:2])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot read .*absent.json'),
        ('{', 'is no file as naclip-bench templates writes it'),
        ('{"classes": 3, "about": {}}', 'is no file as naclip-bench templates writes it'),
        (json.dumps({'classes': {'sky': ['a {}']}, 'about': {}}), 'has none for "sky" and 20 more'),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, content, message):
    path = tmp_path / 'absent.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(BenchError, match=message):
        Vocabulary('voc21', str(path))


def test_what_a_file_says_is_in_the_key_and_not_its_name(bench, tmp_path):
    def key(templates):
        return OpenPass(Pass([tiny_leaf(bench, model__templates=templates)]), Selection()).keys[0]

    first = key(choice_of(tmp_path))
    assert key(choice_of(tmp_path, 'again.json')) == first != key('photo')
    assert key(choice_of(tmp_path, aeroplane=FEW[3:4])) != first


def test_the_command_reads_no_mask_and_says_what_it_chose_on(bench, capfd, monkeypatch):
    out = bench.folder / 'chosen.json'
    arguments = bench.arguments('--out', out, '--experts', 2, without=('--work-dir', '--store'))
    arguments = list(map(str, arguments))
    first = run_here(capfd, arguments, TOOL)
    assert first.code == 0, first.stderr
    assert 'the weights are random' in first.stdout
    chosen = json.loads(out.read_text())
    assert chosen['about']['names'] == bench.names and len(chosen['classes']) == 21
    for name in bench.names:
        bench.mask(name).write_text('no image')
    assert run_here(capfd, arguments, TOOL).code == 0
    assert json.loads(out.read_text()) == chosen


def test_a_run_says_that_templates_were_chosen(bench, capfd, tmp_path):
    ended = bench.run(capfd, options={'model.templates': choice_of(tmp_path)})
    assert ended.code == 0, ended.stderr
    assert 'templates of its own, chosen on 7 images, 2 of them among those that are scored' in ended.stdout
    assert bench.result()['settings']['templates_chosen']['file'] == 'chosen.json'


@pytest.mark.parametrize(
    ('more', 'message'), [(('--experts', '0'), '--experts is 0'), (('--out', 'x.txt'), 'end in .json')]
)
def test_arguments_that_do_not_fit(bench, capfd, more, message):
    arguments = bench.arguments('--out', str(bench.folder / 'a.json'), *more, without=('--work-dir', '--store'))
    ended = run_here(capfd, arguments, TOOL)
    assert ended.code != 0 and message in ended.stderr
