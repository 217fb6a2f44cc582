_base_ = ['./_base_/methods/cass.py', './_base_/datasets/voc21.py']

model = _base_.vocabulary
