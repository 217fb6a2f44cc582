_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/cityscapes.py']

model = _base_.vocabulary
