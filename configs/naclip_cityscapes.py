_base_ = ['./_base_/methods/naclip.py', './_base_/datasets/cityscapes.py']

model = _base_.vocabulary
