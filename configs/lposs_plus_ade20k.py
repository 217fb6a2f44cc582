_base_ = ['./_base_/methods/lposs_plus.py', './_base_/datasets/ade20k.py']

model = _base_.vocabulary
