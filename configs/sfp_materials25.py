_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/materials25.py']

model = _base_.vocabulary
