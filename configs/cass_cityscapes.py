_base_ = ['./_base_/methods/cass.py', './_base_/datasets/cityscapes.py']

model = _base_.vocabulary
