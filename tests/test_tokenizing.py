"""Tokenizers of other vocabularies than OpenAI's: their files are local, or a line says where they would be."""

from __future__ import annotations

import json

import pytest
import torch
from families import CONFIGS

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.text import text_vectors, tokenizer_name, too_long
from naclip_bench.backbones.tokenizing import tokenizer_of
from naclip_bench.errors import BenchError
from naclip_bench.vocabulary import check_words

WORDS = ['<pad>', '</s>', '<unk>', 'a', 'photo', 'of', 'cat', 'dog', 'sky']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A tokenizer of a few words that pads with a token of its own, as ``transformers`` saves it."""
    transformers, tokenizers = pytest.importorskip('transformers'), pytest.importorskip('tokenizers')
    vocabulary = {word: index for index, word in enumerate(WORDS[::-1])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token='<unk>'))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single='$A </s>', special_tokens=[('</s>', vocabulary['</s>'])]
    )
    path = tmp_path_factory.mktemp('tokenizer')
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token='<pad>', eos_token='</s>', unk_token='<unk>'
    )
    fast.save_pretrained(path)
    return path


def siglip(folder):
    text = dict(
        CONFIGS['siglip']['text_cfg'], hf_tokenizer_name=str(folder), tokenizer_kwargs={'clean': 'canonicalize'}
    )
    return {**CONFIGS['siglip'], 'text_cfg': text}


def test_a_tokenizer_of_a_folder(folder):
    backbone = FrozenCLIP(siglip(folder), None)
    assert tokenizer_name(backbone).startswith('HFTokenizer/')
    tokens = backbone.tokenizer(['A cat.'])
    assert tokens.shape == (1, 16) and [WORDS[::-1][index] for index in tokens[0, :4]] == ['a', 'cat', '</s>', '<pad>']
    vectors = text_vectors(backbone, ['cat', 'sky'], ['a photo of {}'])
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2)) and not torch.equal(*vectors)
    assert too_long(backbone, ['cat', ' '.join(['sky'] * 15)], ['a {}']) == [' '.join(['sky'] * 15)]


def test_words_that_are_cut_alike(folder):
    tokenize = tokenizer_of(dict(CONFIGS['siglip']['text_cfg'], hf_tokenizer_name=str(folder)))
    check_words(['cat', 'dog', 'cat dog'], ['a photo of {}'], tokenize)


def test_another_vocabulary_is_another_name(folder, tmp_path):
    for path in folder.iterdir():
        content = path.read_text().replace('"sky"', '"sea"')
        (tmp_path / path.name).write_text(content)
    names = {tokenizer_of(dict(hf_tokenizer_name=str(of))).name for of in (folder, tmp_path)}
    assert len(names) == 2


def test_a_model_with_its_tokenizer_in_one_folder(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'model_cfg': siglip('somewhere/else')}))
    assert FrozenCLIP(str(tmp_path), None).tokenizer.name == FrozenCLIP(siglip(folder), None).tokenizer.name


def test_a_tokenizer_that_cannot_be_had_is_one_line():
    with pytest.raises(BenchError) as refused:
        FrozenCLIP('ViT-B-16-SigLIP', None)
    line = str(refused.value)
    assert '\n' not in line
    for fragment in ('arch: the tokenizer timm/ViT-B-16-SigLIP cannot be had', 'HF_HOME', 'hf_tokenizer_name'):
        assert fragment in line
