_base_ = ['./_base_/methods/lposs.py', './_base_/datasets/ade20k.py']

model = _base_.vocabulary
