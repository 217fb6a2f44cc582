"""Weights and architectures as people have them: taken as they are meant, or refused in one line that mends it."""

from __future__ import annotations

import argparse
import json
import re
import socket

import numpy as np
import open_clip
import open_clip.pretrained
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import TINY_CLIP

from naclip_bench.backbones import FrozenCLIP
from naclip_bench.backbones.colors import NAMED, OPENAI, parse_colors
from naclip_bench.backbones.weights import random_weights
from naclip_bench.datasets.preprocessor import MEAN, STD, ImagePreprocessor
from naclip_bench.errors import BenchError

VISION, TEXT = TINY_CLIP['vision_cfg'], TINY_CLIP['text_cfg']
INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def state_dict(config=TINY_CLIP):
    return random_weights(open_clip.CLIP(**config).state_dict())


@pytest.fixture(scope='module')
def state():
    return state_dict()


@pytest.fixture(scope='module')
def weights_hash():
    return FrozenCLIP(TINY_CLIP, None).weights_hash


def save(content, path):
    if path.suffix == '.safetensors':
        save_file({key: value.contiguous() for key, value in content.items()}, path)
    else:
        torch.save(content, path)
    return str(path)


def refusal(*arguments, **settings):
    """The one line that a CLIP is refused with."""
    with pytest.raises(BenchError) as refused:
        FrozenCLIP(*arguments, **settings)
    line = str(refused.value)
    assert '\n' not in line
    return line


def with_prefix(state, prefix):
    return {f'{prefix}{key}': value for key, value in state.items()}


# ---- what is taken


def as_transformers(state):
    """The names and shapes of ``transformers.CLIPModel``, which has its query, key and value apart."""
    renamed = {}
    for key, value in state.items():
        tower = 'vision_model' if key.startswith('visual.') else 'text_model'
        block = re.fullmatch(r'(?:visual\.)?transformer\.resblocks\.(\d+)\.(.+)', key)
        if block:
            layer, part = f'{tower}.encoder.layers.{block[1]}', block[2]
            if part.startswith('attn.in_proj_'):
                kind = part.removeprefix('attn.in_proj_')
                for letter, third in zip('qkv', value.chunk(3), strict=True):
                    renamed[f'{layer}.self_attn.{letter}_proj.{kind}'] = third
                continue
            for ours, theirs in (('ln_', 'layer_norm'), ('attn.', 'self_attn.'), ('c_fc', 'fc1'), ('c_proj', 'fc2')):
                part = part.replace(ours, theirs)
            renamed[f'{layer}.{part}'] = value
        elif key in ('visual.proj', 'text_projection'):
            name = {'visual.proj': 'visual_projection', 'text_projection': 'text_projection'}[key]
            renamed[f'{name}.weight'] = value.T.contiguous()
        else:
            name = {
                'visual.class_embedding': 'vision_model.embeddings.class_embedding',
                'visual.conv1.weight': 'vision_model.embeddings.patch_embedding.weight',
                'visual.positional_embedding': 'vision_model.embeddings.position_embedding.weight',
                'visual.ln_pre.weight': 'vision_model.pre_layrnorm.weight',
                'visual.ln_pre.bias': 'vision_model.pre_layrnorm.bias',
                'visual.ln_post.weight': 'vision_model.post_layernorm.weight',
                'visual.ln_post.bias': 'vision_model.post_layernorm.bias',
                'token_embedding.weight': 'text_model.embeddings.token_embedding.weight',
                'positional_embedding': 'text_model.embeddings.position_embedding.weight',
                'ln_final.weight': 'text_model.final_layer_norm.weight',
                'ln_final.bias': 'text_model.final_layer_norm.bias',
                'logit_scale': 'logit_scale',
            }
            renamed[name[key]] = value
    return renamed


TAKEN = {
    'plain': lambda state: state,
    'state_dict': lambda state: {'state_dict': state, 'epoch': 3},
    'model': lambda state: {'model': state, 'optimizer': {'state': {}}},
    'model_state_dict': lambda state: {'model_state_dict': state, 'loss': 0.5},
    'wrapped twice': lambda state: {'model': {'state_dict': state}},
    'module.': lambda state: with_prefix(state, 'module.'),
    'model.': lambda state: {'state_dict': with_prefix(state, 'model.')},
    'clip_model.': lambda state: with_prefix(state, 'clip_model.'),
    'two prefixes': lambda state: with_prefix(state, 'module.clip_model.'),
    'transformers': as_transformers,
    'transformers, wrapped': lambda state: {'model': with_prefix(as_transformers(state), 'model.')},
    'logit scale of one': lambda state: {**state, 'logit_scale': state['logit_scale'][None]},
    'attention mask': lambda state: {**state, 'attn_mask': torch.full((77, 77), -torch.inf).triu_(1)},
    'position ids': lambda state: {**as_transformers(state), 'vision_model.embeddings.position_ids': torch.arange(5)},
    'double precision': lambda state: {key: value.double() for key, value in state.items()},
}


@pytest.mark.parametrize('form', TAKEN)
def test_forms_of_the_same_weights(tmp_path, state, weights_hash, form):
    content = TAKEN[form](state)
    names = ['weights.pt', 'weights.bin']
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        names.append('weights.safetensors')
    for name in names:
        loaded = FrozenCLIP(TINY_CLIP, save(content, tmp_path / name))
        assert (loaded.weights_hash, loaded.weights_name, loaded.random_weights) == (weights_hash, name, False)


@pytest.mark.parametrize('prefix', ['', 'module.', 'model.', 'clip_model.', 'student.backbone.'])
def test_a_prefix_that_is_taken_off_is_said(tmp_path, caplog, state, prefix):
    FrozenCLIP(TINY_CLIP, save(with_prefix(state, prefix), tmp_path / 'weights.pt'))
    said = [record.getMessage() for record in caplog.records]
    assert [f'"{prefix}", which is taken off' in line for line in said] == [True] * bool(prefix)


def test_transformers_own_model(tmp_path):
    """Where that library is at hand: it gives the same embeddings from the file that it saves."""
    transformers = pytest.importorskip('transformers')
    sizes = dict(hidden_act='quick_gelu', projection_dim=TINY_CLIP['embed_dim'])
    vision = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, image_size=32)
    text = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=1, intermediate_size=128, eos_token_id=2)
    config = transformers.CLIPConfig(
        text_config={**text, **sizes}, vision_config={**vision, **sizes, 'patch_size': 16}, projection_dim=32
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    ours = FrozenCLIP(TINY_CLIP, str(tmp_path / 'model.safetensors'))
    gelu = {**TINY_CLIP, 'quick_gelu': False}
    assert 'another activation' in refusal(gelu, str(tmp_path / 'model.safetensors'))
    images, words = torch.randn(2, 3, 32, 32), open_clip.SimpleTokenizer()(['a cat', 'the sky above'])
    with torch.no_grad():
        for mine, theirs in (
            (ours.encode_image(images), model.get_image_features(pixel_values=images)),
            (ours.encode_text(words), model.get_text_features(input_ids=words)),
        ):
            assert torch.allclose(mine, getattr(theirs, 'pooler_output', theirs), atol=1e-6)


def test_activation_that_transformers_tells(tmp_path, state):
    path = save(as_transformers(state), tmp_path / 'model.safetensors')
    config = tmp_path / 'config.json'
    config.write_text(json.dumps({'model_type': 'clip', 'vision_config': {'hidden_act': 'gelu'}}))
    assert 'another activation' in refusal(TINY_CLIP, path)
    config.write_text(json.dumps({'model_type': 'clip', 'vision_config': {}}))  # it leaves out its default
    assert FrozenCLIP(TINY_CLIP, path).weights_name == 'model.safetensors'


def test_a_hash_tells_weights_apart(tmp_path, state, weights_hash):
    other = {**state, 'visual.proj': state['visual.proj'] + 1e-3}
    assert FrozenCLIP(TINY_CLIP, save(other, tmp_path / 'other.safetensors')).weights_hash != weights_hash


# ---- what is refused, and why


def resized(state, patches):
    positions = state['visual.positional_embedding']
    return {**state, 'visual.positional_embedding': positions[:1].repeat(1 + patches, 1)}


def with_nan(state):
    return {**state, 'ln_final.bias': torch.full_like(state['ln_final.bias'], torch.nan)}


def only(state, start):
    return {key: value for key, value in state.items() if key.startswith(start)}


REFUSED = {
    'sigmoid': (lambda s: {**s, 'logit_bias': torch.tensor(-10.0)}, ('has a logit_bias', 'SigLIP', 'init_logit_bias')),
    'vision tower': (lambda s: only(s, 'visual.'), ('vision tower alone', 'text tower', 'visual.*')),
    'vision tower, by itself': (
        lambda s: {key.removeprefix('visual.'): value for key, value in only(s, 'visual.').items()},
        ('vision tower alone', 'visual.*'),
    ),
    'vision tower of transformers': (lambda s: only(as_transformers(s), 'vision_'), ('vision tower alone',)),
    'another grid': (lambda s: resized(s, 36), ('6 x 6 patches', '2 x 2', 'vision_cfg.image_size 96')),
    'not finite': (with_nan, ('not finite', 'ln_final.bias')),
    'two students': (
        lambda s: {**with_prefix(s, 'student.'), **with_prefix(s, 'teacher.')},
        ('several models (student., teacher.)',),
    ),
    'wrapped side by side': (lambda s: {'model': s, 'state_dict': s}, ('under state_dict and model',)),
    'nothing': (lambda s: {'epoch': 3, 'state_dict': {'step': 2}}, ('no weights that can be read',)),
    'namespace': (
        lambda s: {'state_dict': s, 'args': argparse.Namespace(lr=0.1)},
        ('more than weights (argparse.Namespace)', 'torch.save(model.state_dict(), FILE)'),
    ),
    'numpy scalar': (lambda s: {'state_dict': s, 'loss': np.float64(0.1)}, ('more than weights', 'multiarray.scalar')),
    'whole model': (lambda s: torch.nn.Linear(2, 2), ('more than weights', 'torch.nn.modules.linear.Linear')),
}


@pytest.mark.parametrize('form', REFUSED)
def test_forms_that_are_refused_say_why(tmp_path, state, form):
    content, fragments = REFUSED[form]
    path = save(content(state), tmp_path / 'weights.pt')
    line = refusal(TINY_CLIP, path)
    for fragment in ('pretrained: ', 'weights.pt', *fragments):
        assert fragment in line


def test_positions_of_another_grid_fit_the_config_that_is_advised(tmp_path, state):
    path = save(resized(state, 36), tmp_path / 'weights.pt')
    assert FrozenCLIP({**TINY_CLIP, 'vision_cfg': {**VISION, 'image_size': 96}}, path).native_grid == (6, 6)


def test_a_logit_bias_is_taken_where_it_is_asked_for(tmp_path, state):
    path = save({**state, 'logit_bias': torch.tensor(-10.0)}, tmp_path / 'weights.pt')
    assert FrozenCLIP({**TINY_CLIP, 'init_logit_bias': 0}, path).weights_name == 'weights.pt'


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath('ran').touch, ())

    line = refusal(TINY_CLIP, save({'weight': Evil()}, tmp_path / 'evil.pt'))
    assert 'more than weights' in line
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='ViT-B-61-quickgelu'), 'did you mean .*ViT-B-16-quickgelu'),
        (dict(arch='ViT-B/16'), 'OpenAI.s weights is ViT-B-16-quickgelu$'),
        (dict(arch='ViT-L/14@336px'), 'OpenAI.s weights is ViT-L-14-336-quickgelu$'),
        (dict(arch='ViTamin-B', pretrained=None), 'no backbone: ViTamin'),
        (dict(arch='coca_ViT-B-32', pretrained=None), 'no backbone: CoCa'),
        (dict(arch='xlm-roberta-base-ViT-B-32', pretrained=None), 'no vision and text tower .* model of transformers'),
        (dict(arch={**TINY_CLIP, 'vision_cfg': {**VISION, 'block_type': 'custom'}}), 'no vision and text tower'),
        (dict(arch='ViT-L-14-worldwide', pretrained=None), 'tokenizer google/mt5-base cannot be had'),
        (dict(arch=dict(embed_dim=3)), 'lacks vision_cfg, text_cfg'),
        (dict(arch={**TINY_CLIP, 'vision_cfg': 3}), r'no vision and text tower .*\(.*\)'),
        (dict(arch={**TINY_CLIP, 'vision_cfg': {**VISION, 'widht': 3}}), r'no vision and text tower .*\(.*widht'),
        (dict(arch='local-dir:nowhere'), 'arch: there is no nowhere/open_clip_config.json'),
        (dict(pretrained='local-dir:nowhere'), 'there is no file local-dir:nowhere'),
        (dict(pretrained='opneai'), 'did you mean "openai"'),
        (dict(arch='ViT-B-16', pretrained='openai'), 'use arch ViT-B-16-quickgelu'),
        (dict(pretrained='nowhere/weights.pt'), 'three ways'),
        (dict(arch=TINY_CLIP, pretrained=None, precision='fp8'), 'precision is'),
        (dict(arch=TINY_CLIP, pretrained=None, colors='opneai'), 'colors: .* did you mean "openai"'),
        (dict(arch=TINY_CLIP, pretrained=None, colors=MEAN), 'no mean and deviation in 0..1'),
    ],
)
def test_what_is_not_there_is_said(arguments, message):
    assert re.search(message, refusal(**arguments))


# ---- colors


@pytest.fixture
def tag(monkeypatch):
    """Make tags of a small model known to open_clip, and return its name."""

    def known(**entries):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, 'tiny-for-this-test', TINY_CLIP)
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, 'tiny-for-this-test', entries)
        return 'tiny-for-this-test'

    return known


def described(**preprocess):
    return {'model_cfg': TINY_CLIP, 'preprocess_cfg': preprocess}


def test_openai_colors_are_the_constants_of_the_sclip_family():
    """To the bit: expected values stand on them."""
    preprocessor, default = ImagePreprocessor.of(OPENAI), ImagePreprocessor()
    assert torch.equal(preprocessor.mean, default.mean) and torch.equal(preprocessor.std, default.std)
    assert (MEAN, STD) == ((122.771, 116.746, 104.094), (68.501, 66.632, 70.323))


@given(st.lists(st.floats(0.01, 1), min_size=6, max_size=6))
def test_images_are_normalized_with_the_colors(values):
    mean, deviation = values[:3], values[3:]
    pixel = torch.tensor([10, 100, 250], dtype=torch.uint8)
    red_green_blue = pixel.flip(0).double() / 255
    expected = (red_green_blue - torch.tensor(mean).double()) / torch.tensor(deviation).double()
    found = ImagePreprocessor.of((mean, deviation))(dict(inputs=[pixel[:, None, None]]))['inputs'][0].flatten()
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('setting', 'colors'),
    [
        ('openai', OPENAI),
        ('inception', INCEPTION),
        (INCEPTION, INCEPTION),
        ([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], INCEPTION),
        ((0, 1), ((0, 0, 0), (1, 1, 1))),
    ],
)
def test_colors_by_name_or_value(setting, colors):
    assert parse_colors(setting) == colors
    assert FrozenCLIP(TINY_CLIP, None, colors=setting).colors == colors


def test_colors_without_a_word_are_openais(tmp_path, state):
    assert FrozenCLIP(TINY_CLIP, None).colors == OPENAI
    assert FrozenCLIP(TINY_CLIP, save(state, tmp_path / 'weights.pt')).colors == OPENAI


def test_colors_of_the_file_of_the_architecture(tmp_path, state):
    weights, config = save(state, tmp_path / 'weights.pt'), tmp_path / 'config.json'
    config.write_text(json.dumps(described(mean=[0.5] * 3, std=[0.5] * 3)), encoding='utf-8-sig')
    assert FrozenCLIP(str(config), weights).colors == INCEPTION
    assert FrozenCLIP(described(mean=0.5, std=0.5), weights).colors == INCEPTION
    assert FrozenCLIP(str(config), weights, colors='openai').colors == OPENAI
    assert FrozenCLIP(described(size=32), weights).colors == OPENAI  # open_clip's own default


def test_local_file_of_a_model_whose_tags_differ(tmp_path, state, tag):
    """The same weights are right by their tag; by their file nothing tells, so that it must be said."""
    path = save(state, tmp_path / 'weights.pt')
    arch = tag(
        one=dict(file=path, quick_gelu=True), other=dict(file=path, quick_gelu=True, mean=(0.5,) * 3, std=(0.5,) * 3)
    )
    assert FrozenCLIP(arch, 'one').colors == OPENAI
    assert FrozenCLIP(arch, 'other').colors == INCEPTION
    for same in (arch, TINY_CLIP):
        line = refusal(same, path)
        for fragment in ('weights.pt does not tell', f'{arch} other: inception', 'model.backbone.colors'):
            assert fragment in line
        assert FrozenCLIP(same, path, colors='inception').colors == INCEPTION
    arch = tag(one=dict(file=path, quick_gelu=True))
    assert FrozenCLIP(arch, path).colors == OPENAI


def test_model_of_open_clip_whose_tags_differ():
    """The case that was met: ViT-L-14 of laion2b_s32b_b82k."""
    from naclip_bench.backbones.colors import colors_of_architecture

    config = open_clip.get_model_config('ViT-L-14')
    for arch in (config, {**config, 'vision_cfg': {**config['vision_cfg'], 'image_size': 336}}):
        with pytest.raises(BenchError, match='ViT-L-14 laion2b_s32b_b82k: inception'):
            colors_of_architecture('ViT-L-14', arch, 'weights.pt')
    for name in ('ViT-B-16', 'ViT-B-16-quickgelu', 'ViT-B-32-quickgelu', 'ViT-L-14-quickgelu'):
        assert colors_of_architecture(name, open_clip.get_model_config(name), 'weights.pt') == OPENAI


def test_names_of_colors_are_pairs():
    assert all(parse_colors(colors) == colors for colors in NAMED.values())


# ---- folders and the hub


@pytest.fixture
def folder(tmp_path, state):
    """As open_clip saves a model."""
    path = tmp_path / 'mine'
    path.mkdir()
    (path / 'open_clip_config.json').write_text(json.dumps(described(mean=[0.5] * 3, std=[0.5] * 3)))
    save(state, path / 'open_clip_model.safetensors')
    return path


@pytest.mark.parametrize('prefix', ['', 'local-dir:'])
def test_folder_as_open_clip_saves_it(folder, weights_hash, caplog, prefix):
    place = f'{prefix}{folder}'
    for arguments in (
        (place, place),
        (place,),
        (TINY_CLIP, place),
        (place, str(folder / 'open_clip_model.safetensors')),
    ):
        loaded = FrozenCLIP(*arguments)
        assert (loaded.weights_hash, loaded.colors, loaded.arch[:7]) == (weights_hash, INCEPTION, 'custom-')
    # ``openai``, which every config says, is no tag of a folder.
    assert [record.getMessage() for record in caplog.records] == [
        f'note: the weights are those of {place}, which comes with its own'
    ]
    assert FrozenCLIP(place, None).random_weights


def test_folder_of_another_model(folder):
    gelu, one_head = {**TINY_CLIP, 'quick_gelu': False}, {**TINY_CLIP, 'vision_cfg': {**VISION, 'head_width': 64}}
    assert 'another activation' in refusal(gelu, str(folder))
    assert 'other attention heads' in refusal(one_head, str(folder))
    assert 'another architecture' in refusal({**TINY_CLIP, 'embed_dim': 64}, str(folder))


def test_folder_without_weights_or_with_too_many(folder, state):
    (folder / 'open_clip_model.safetensors').rename(folder / 'epoch_1.pt')
    save(state, folder / 'epoch_2.pt')
    assert 'has epoch_1.pt, epoch_2.pt; give the path of one' in refusal(TINY_CLIP, str(folder))
    for name in ('epoch_1.pt', 'epoch_2.pt'):
        (folder / name).unlink()
    assert 'has none' in refusal(TINY_CLIP, str(folder))
    (folder / 'open_clip_config.json').write_text('[')
    assert 'cannot read' in refusal(str(folder), None)
    (folder / 'open_clip_config.json').unlink()
    assert f'arch: there is no {folder}/open_clip_config.json' in refusal(str(folder), None)


@pytest.fixture
def hub(tmp_path, monkeypatch, folder):
    """The cache that a download of someone/tiny-clip has filled, and a network where no name resolves."""
    import huggingface_hub.constants

    revision, repository = '0' * 40, tmp_path / 'hub' / 'models--someone--tiny-clip'
    (repository / 'snapshots').mkdir(parents=True)
    folder.rename(repository / 'snapshots' / revision)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text(revision)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
    asked = []

    def unresolved(host, *arguments, **settings):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    for proxy in ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(socket, 'getaddrinfo', unresolved)
    return asked


def test_tag_from_a_filled_cache(hub, tag, weights_hash):
    arch = tag(someone=dict(hf_hub='someone/tiny-clip/', quick_gelu=True, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.5)))
    loaded = FrozenCLIP(arch, 'someone')
    assert (loaded.weights_name, loaded.weights_hash, loaded.random_weights) == ('someone', weights_hash, False)
    # Some tags were trained with other colors than OpenAI's; images are normalized with theirs.
    preprocessor = ImagePreprocessor.of(loaded.colors)
    blue_green_red = torch.tensor([255, 0, 51], dtype=torch.uint8)[:, None, None]
    normalized = preprocessor(dict(inputs=[blue_green_red]))['inputs'][0]
    assert torch.allclose(normalized.flatten(), torch.tensor([(0.2 - 0.5) / 0.25, -1.0, 1.0]))


@pytest.mark.usefixtures('hub')
def test_hub_name_as_open_clip_takes_it(weights_hash):
    name = 'hf-hub:someone/tiny-clip'
    for arguments in ((name,), (name, name), (TINY_CLIP, name)):
        loaded = FrozenCLIP(*arguments)
        assert (loaded.weights_hash, loaded.weights_name, loaded.colors) == (weights_hash, name, INCEPTION)


@pytest.mark.parametrize(
    'arguments', [('ViT-B-16-quickgelu', 'openai'), ('hf-hub:no/one',), (TINY_CLIP, 'hf-hub:no/one')]
)
def test_name_that_does_not_resolve_is_tried_once(hub, monkeypatch, arguments):
    """The hub tries it again and again, for half a minute a file."""
    monkeypatch.setattr('time.sleep', lambda seconds: pytest.fail(f'waits for {seconds} s'))
    line = refusal(*arguments)
    for fragment in ('the name huggingface.co does not resolve', 'Name or service not known', '(1)', '(2)', '(3)'):
        assert fragment in line
    assert hub == ['huggingface.co']


def test_with_a_proxy_its_name_counts(hub, monkeypatch):
    monkeypatch.setenv('https_proxy', 'http://proxy.example:3128')
    assert 'the name proxy.example does not resolve' in refusal()
    assert hub == ['proxy.example']
