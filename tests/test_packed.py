"""A batch comes out of one piece of memory as it went in, also out of another process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import DataLoader

from naclip_bench.datasets.packed import packed, unpacked

CPU = torch.device('cpu')


def item(number: int, shape: tuple[int, ...], truths: dict[str, tuple[int, torch.dtype]]) -> dict:
    """An image, and truths whose highest labels and kinds of number are given; an odd number of bytes, as a rule."""
    generator = torch.Generator().manual_seed(number)
    sample = SegDataSample(metainfo=dict(img_path=f'{number}.jpg', ori_shape=shape[1:], sample_idx=number))
    sample.truths = {}
    for name, (highest, dtype) in truths.items():
        labels = torch.randint(0, highest + 1, shape[1:], generator=generator)
        labels.view(-1)[:1] = highest
        sample.truths[name] = labels.to(dtype)
    return dict(inputs=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), data_samples=sample)


def contents(sample: SegDataSample) -> dict[str, Tensor]:
    return {name: truth.long() for name, truth in sample.truths.items()}


LABELS = st.sampled_from([(0, torch.int64), (255, torch.int32), (256, torch.int32), (65535, torch.int64)])
SHAPES = st.tuples(st.sampled_from([3, 4]), st.integers(1, 9), st.integers(1, 9))


@given(st.lists(st.tuples(SHAPES, LABELS, LABELS), min_size=1, max_size=4))
def test_what_is_packed_comes_out(batch):
    items = [item(number, shape, dict(a=a, b=b)) for number, (shape, a, b) in enumerate(batch)]
    before = [(one['inputs'].clone(), contents(one['data_samples'])) for one in items]
    out = unpacked(packed(items), CPU)
    for (image, truths), found, sample, (_, a, b) in zip(
        before, out['inputs'], out['data_samples'], batch, strict=True
    ):
        assert found.dtype == torch.uint8 and torch.equal(found, image)
        after = contents(sample)
        assert after.keys() == truths.keys() and all(torch.equal(after[name], truths[name]) for name in truths)
        bytes_ = [truth.dtype == torch.uint8 for truth in sample.truths.values()]
        assert bytes_ == [highest <= 255 for highest, _ in (a, b)]


def test_labels_below_zero_stay_what_they_are():
    one = item(0, (3, 2, 2), dict(a=(3, torch.int32)))
    one['data_samples'].truths['a'][0, 0] = -1
    (sample,) = unpacked(packed([one]), CPU)['data_samples']
    assert sample.truths['a'].dtype == torch.int32 and sample.truths['a'][0, 0] == -1


class Items(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict:
        return item(index, (3, 5 + index, 7), dict(a=(index, torch.int64), b=(300, torch.int32)))


@pytest.mark.parametrize('workers', [0, 2])
def test_a_batch_crosses_as_one_tensor(workers):
    seen = 0
    for batch in DataLoader(Items(), batch_size=2, collate_fn=packed, num_workers=workers):
        assert batch['memory'].dim() == 1
        assert not any('truths' in sample for sample in batch['data_samples'])
        out = unpacked(batch, CPU)
        for image, sample in zip(out['inputs'], out['data_samples'], strict=True):
            expected = Items()[sample.sample_idx]
            assert torch.equal(image, expected['inputs'])
            assert np.array_equal(sample.truths['b'], expected['data_samples'].truths['b'])
            seen += 1
    assert seen == 5


def test_truths_travel_with_their_images():
    out = unpacked(packed([Items()[3]]), torch.device('meta'))
    assert out['inputs'][0].is_meta and out['inputs'][0].shape == (3, 8, 7)
    assert all(truth.is_meta for truth in out['data_samples'][0].truths.values())
