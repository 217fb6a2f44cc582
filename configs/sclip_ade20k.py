_base_ = ['./_base_/methods/sclip.py', './_base_/datasets/ade20k.py']

model = _base_.vocabulary
