_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/ade20k.py']

model = _base_.vocabulary
