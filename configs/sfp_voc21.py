_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/voc21.py']

model = _base_.vocabulary
