_base_ = [
    '../_base_/methods/cliptrase.py',
    '../_base_/datasets/cityscapes27.py',
    '../_base_/cliptrase_released.py',
]

protocol = 'official'
model = dict(**_base_.vocabulary, **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_ignored_336))
