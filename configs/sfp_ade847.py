_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/ade847.py']

model = _base_.vocabulary
