"""Class names to text vectors, and their cache."""

import hashlib

import numpy as np
import open_clip
import pytest
import torch
from golden import TINY

from naclip_bench.backbones import FrozenCLIP, text
from naclip_bench.backbones.text import text_vectors
from naclip_bench.errors import BenchError
from naclip_bench.vocabulary import TEMPLATES, Vocabulary, check_words, class_name_file

pytestmark = pytest.mark.numeric

#: Classes, words and md5 of the class-name files that the whole SCLIP family shares, byte for byte.
FILES = {
    'voc21': (21, 56, '66096d7b'),
    'voc20': (20, 30, 'c0a263bf'),
    'coco_object': (81, 113, '4eb52259'),
    'pc59': (59, 59, 'de9023e2'),
    'pc60': (60, 60, '478af0e4'),
    'coco_stuff': (171, 171, '2d025c42'),
    'cityscapes': (19, 19, 'a8bbbb99'),
    'ade20k': (150, 150, 'e66c13f6'),
}


@pytest.mark.parametrize('name', FILES)
def test_bundled_files_are_the_shared_ones(name):
    classes, words, md5 = FILES[name]
    loaded = Vocabulary(name)
    assert (len(loaded), len(loaded.occurrences)) == (classes, words)
    assert hashlib.md5(class_name_file(name).read_bytes()).hexdigest().startswith(md5)


def test_templates_are_the_80_of_openai():
    assert len(TEMPLATES['openai_80']) == 80
    assert TEMPLATES['openai_80'][:3] == ('a bad photo of a {}.', 'a photo of many {}.', 'a sculpture of a {}.')


def test_bed_speaks_for_the_background_of_coco_object():
    loaded = Vocabulary('coco_object')
    bed = loaded.queries.index('bed')
    assert loaded.query_class[bed] == 0
    assert loaded.multiplicity[bed] == 2
    assert loaded.multiplicity.sum() == 113
    assert loaded.classes[60] == ['bed']


def test_queries_keep_the_order_of_the_classes():
    for name in FILES:
        assert Vocabulary(name).query_class.diff().ge(0).all()


def test_only_comma_and_space_separate(tmp_path):
    path = tmp_path / 'mine.txt'
    path.write_text('cat, kitten\nsalt,pepper\nwood \n')
    loaded = Vocabulary(str(path))
    assert loaded.classes == [['cat', 'kitten'], ['salt,pepper'], ['wood ']]


@pytest.mark.parametrize('text', ['', 'cat\n\ndog', 'cat, , dog', 'cat\n \n'])
def test_empty_names_are_refused(tmp_path, text):
    path = tmp_path / 'mine.txt'
    path.write_text(text)
    with pytest.raises(BenchError, match='empty name'):
        Vocabulary(str(path))


def test_byte_order_mark_is_no_part_of_the_first_word(tmp_path):
    path = tmp_path / 'mine.txt'
    path.write_bytes(b'\xef\xbb\xbfcat\ndog\n')
    marked = Vocabulary(str(path))
    path.write_bytes(b'cat\ndog\n')
    assert marked.queries == ['cat', 'dog'] and marked.sha256 == Vocabulary(str(path)).sha256


def test_path_with_commas(tmp_path):
    """mmengine's command line splits a value at its commas."""
    path = tmp_path / 'a,b' / '1,2.txt'
    path.parent.mkdir()
    path.write_text('cat\n')
    assert Vocabulary(str(path).split(',')).classes == [['cat']]


@pytest.mark.parametrize('name', [21, 2.5, True, None, [], ['a', 1]])
def test_class_names_that_are_no_name(name):
    with pytest.raises(BenchError, match='class names: there is no file'):
        Vocabulary(name)


# ---- words and the context length


@pytest.fixture(scope='module')
def tokenize():
    return open_clip.SimpleTokenizer(context_length=16)


@pytest.mark.parametrize('behind', [0, 9])
@pytest.mark.parametrize('place', range(4, 18))
def test_words_are_refused_exactly_where_their_tokens_are_alike(tokenize, place, behind):
    """Two long words that differ in one token, at each place around the end of the context."""
    words = ['cat', *(' '.join(['tree'] * place + [end] + ['tree'] * behind) for end in ('dog', 'house'))]
    templates = TEMPLATES['openai_80'][:3]
    alike = any(torch.equal(*tokenize([template.replace('{}', word) for word in words[1:]])) for template in templates)
    assert alike == (place > 8)
    if alike:
        with pytest.raises(BenchError, match=f'16 tokens, and "{words[1]}" and "{words[2]}" differ only behind'):
            check_words(words, templates, tokenize)
    else:
        check_words(words, templates, tokenize)


def test_words_that_mean_the_same_are_no_matter_of_length(tokenize):
    check_words(['cat', 'Cat', 'CAT '], TEMPLATES['photo'], tokenize)
    check_words([], TEMPLATES['photo'], tokenize)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path))
    return tmp_path


def test_vectors_come_from_the_cache_the_second_time(own_cache, monkeypatch):
    backbone = FrozenCLIP(TINY, None)
    first = text_vectors(backbone, ['cat', 'dog'], TEMPLATES['openai_80'])
    assert torch.allclose(first.norm(dim=-1), torch.ones(2))
    monkeypatch.setattr(text, '_encode', None)
    again = text_vectors(backbone, ['dog', 'cat'], TEMPLATES['openai_80'])
    assert torch.equal(again, first.flip(0))
    with pytest.raises(TypeError):
        text_vectors(backbone, ['cat'], TEMPLATES['photo'])


def test_a_damaged_cache_entry_is_computed_again(own_cache):
    backbone = FrozenCLIP(TINY, None)
    first = text_vectors(backbone, ['cat'], TEMPLATES['photo'])
    (entry,) = own_cache.rglob('*.npy')
    for content in (b'', entry.read_bytes()[:-9]):
        entry.write_bytes(content)
        assert torch.equal(text_vectors(backbone, ['cat'], TEMPLATES['photo']), first)
    np.save(entry, np.full(64, np.nan, np.float32))
    assert torch.equal(text_vectors(backbone, ['cat'], TEMPLATES['photo']), first)
    assert not list(own_cache.rglob('*.tmp'))


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('NACLIP_BENCH_CACHE', str(tmp_path / 'file'))
    assert text_vectors(FrozenCLIP(TINY, None), ['cat'], TEMPLATES['photo']).shape == (1, 64)


def test_batching_and_other_queries_change_no_vector(own_cache, monkeypatch):
    backbone = FrozenCLIP(TINY, None)
    words = ['cat', 'a very long name of a thing', 'television']
    together = text_vectors(backbone, words, TEMPLATES['openai_80'])
    for word, vector in zip(words, together, strict=True):
        monkeypatch.setenv('NACLIP_BENCH_CACHE', str(own_cache / word))
        assert torch.allclose(text_vectors(backbone, [word], TEMPLATES['openai_80'])[0], vector, atol=1e-6)
