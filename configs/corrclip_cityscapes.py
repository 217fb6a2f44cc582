_base_ = ['./_base_/methods/corrclip.py', './_base_/datasets/cityscapes.py']

model = _base_.vocabulary
