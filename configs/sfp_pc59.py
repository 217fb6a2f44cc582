_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/pc59.py']

model = _base_.vocabulary
